//! What a request says besides its token.

use std::collections::BTreeSet;

use actix_web::http::Method;
use theatre_actors::ports::Role;

use crate::deployed::Deployed;
use crate::routes::{Gives, all};

#[test]
fn every_route_that_needs_a_token_refuses_what_it_does_not_take_in_a_query() {
    let served = Deployed::start(|_| {});
    let token = served.token(Role::Admin, &[]);
    let routes = all();
    let mut names: BTreeSet<&str> = routes.iter().flat_map(|it| it.query_names()).collect();
    assert!(names.len() > 10, "{names:?}");
    names.extend(["nonsense", "Limit", "limit[]"]);
    for route in routes.iter().filter(|route| route.role.is_some()) {
        let taken: Vec<&str> = route.query_names().collect();
        // Whatever it is asked for, the query is looked at first.
        let path: String = route.path.replace(['{', '}'], "x");
        for name in &names {
            let is_taken = taken.contains(name);
            let would_act = route.method != Method::GET || matches!(route.gives, Gives::Events);
            if is_taken && would_act {
                continue;
            }
            let asked = format!("{path}?{name}=1");
            let method = route.method.as_str();
            let (status, said) = served.ask(method, &asked, "localhost", Some(&token));
            let detail = said["detail"].as_str().unwrap_or_default();
            let is_refused = detail.contains(&format!("'{name}' is not taken here"));
            assert_eq!(is_refused, !is_taken, "{method} {asked}: {status} {detail}");
            assert!(is_taken || status == 400, "{method} {asked}: {status}");
        }
    }
    let (status, _) = served.ask("GET", "/api/v1/robots?limit=1", "localhost", Some(&token));
    assert_eq!(status, 200);
    let (status, _) = served.ask("GET", "/api/v1/robots?nonsense=1", "localhost", None);
    assert_eq!(status, 401, "who may not ask learns nothing");
    // Links in mails and checks of health have words of their own, and nothing is filtered there.
    let (status, _) = served.ask("GET", "/livez?at=1", "localhost", None);
    assert_eq!(status, 200);
}

#[test]
fn who_has_no_token_asks_by_a_name_of_ours() {
    let served = Deployed::start(|settings| {
        settings.anonymous = Some(Role::Viewer);
        settings.hosts = vec!["theatre.example".to_owned()];
    });
    let token = served.token(Role::Viewer, &[]);
    let own = served.server.address.to_string();
    let path = "/api/v1/robots";
    for (host, token, wanted) in [
        (own.as_str(), None, 200),
        ("localhost:8080", None, 200),
        ("theatre.example", None, 200),
        ("evil.example", None, 421),
        ("127.0.0.1.evil.example", None, 421),
        // A page of another site has no token.
        ("evil.example", Some(token.as_str()), 200),
    ] {
        let (status, said) = served.ask("GET", path, host, token);
        assert_eq!(status, wanted, "{host}: {said}");
        assert_eq!(said["code"] == "misdirected", wanted == 421, "{said}");
    }
    let (status, _) = served.ask("GET", "/livez", "evil.example", None);
    assert_eq!(status, 200, "it shows nothing");
}

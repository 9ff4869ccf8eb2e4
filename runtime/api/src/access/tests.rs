//! What a request says besides its token.

use std::collections::BTreeSet;

use actix_web::http::Method;
use theatre_actors::ports::Role;

use crate::deployed::Deployed;
use crate::routes::{Gives, all};

#[test]
fn every_route_refuses_what_it_does_not_take_in_a_query() {
    let served = Deployed::start(|_| {});
    let token = served.token(Role::Admin, &[]);
    let routes = all();
    let mut names: BTreeSet<&str> = routes.iter().flat_map(|it| it.query_names()).collect();
    assert!(names.len() > 10, "{names:?}");
    names.extend(["nonsense", "Limit", "limit[]"]);
    for route in &routes {
        let taken: Vec<&str> = route.query_names().collect();
        // Whatever it is asked for, the query is looked at first.
        let path: String = route.path.replace('{', "x").replace('}', "x");
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
    assert_eq!(status, 401, "who may not ask is told nothing");
}

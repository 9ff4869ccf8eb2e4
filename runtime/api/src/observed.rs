//! What every request is counted by: its route as the table has it, never as it was asked.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use theatre_telemetry::http::{self, InFlight};

use crate::handlers::Shared;
use crate::routes;

/// Stands for what is no route of the interface: callers may ask for anything.
const OTHER: &str = "other";

/// Counts a request and how long its answer took to begin. A caller that goes away before that gets
/// none, and is not counted.
pub(crate) async fn count(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let pattern = request.match_pattern();
    let route = routes::find(request.method(), pattern.as_deref());
    let (method, path) = route.map_or((OTHER, OTHER), |route| (route.method.as_str(), route.path));
    let shared = request.app_data::<Shared>().cloned();
    let now = || shared.as_ref().map_or(0, |state| state.parts.clock.now().0);
    let begun = now();
    let under_way = InFlight::begin();
    let answer = next.call(request).await;
    drop(under_way);
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    // A clock that was set back makes no time negative.
    let seconds = now().saturating_sub(begun).max(0) as f64 / 1e6;
    http::answered(method, path, status.as_u16(), seconds);
    answer
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::Role;

    use crate::deployed::Deployed;

    /// The value of a series whose line begins so; 0 where it is not there.
    fn value(scrape: &str, series: &str) -> f64 {
        let line = scrape.lines().find(|line| line.starts_with(series));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value.map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    #[test]
    fn requests_are_counted_by_the_route_of_the_table_and_by_what_became_of_them() {
        // Of the whole process: other tests ask meanwhile, so that counts only grow.
        let metrics = theatre_telemetry::install().unwrap();
        let served = Deployed::start(|_| {});
        let token = served.token(Role::Admin, &[]);
        let before = metrics.render();
        for (path, token) in [
            ("/api/v1/robots/robot-0001", Some(token.as_str())),
            ("/api/v1/robots/robot-0002", None),
            ("/api/v1/nothing/robot-0003", Some(token.as_str())),
            ("/livez", None),
        ] {
            served.get(path, token, None).unwrap();
        }
        let after = metrics.render();
        for (method, route, status) in [
            ("GET", "/api/v1/robots/{robot}", 404),
            ("GET", "/api/v1/robots/{robot}", 401),
            ("other", "other", 404),
            ("GET", "/livez", 200),
        ] {
            let labels = format!("method=\"{method}\",route=\"{route}\"");
            let counted = format!("theatre_http_requests_total{{{labels},status=\"{status}\"}}");
            let timed = format!("theatre_http_request_duration_seconds_count{{{labels}}}");
            for series in [counted, timed] {
                let grown = value(&after, &series) - value(&before, &series);
                assert!(grown >= 1.0, "{series} grew by {grown}: {after}");
            }
        }
        assert!(!after.contains("robot-000"), "an id is a label: {after}");
        for series in [
            "theatre_http_requests_in_flight ",
            "theatre_http_listeners ",
            "theatre_http_records_in_total{topic=\"records\"} ",
            "theatre_http_dead_letters_replayed_total ",
        ] {
            assert!(after.contains(&format!("\n{series}")), "{series}: {after}");
        }
    }
}

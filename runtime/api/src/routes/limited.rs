//! Which routes a caller may use that is limited to robots or facilities. What is not here is about
//! the whole deployment, and refused.

use actix_web::http::Method;

use super::RouteSpec;

/// Each route, with what it shows and changes reduced to the robots of the caller. Datasets and
/// rules are the same for all robots, and can only be looked at.
const ROUTES: &[(Method, &str)] = &[
    (Method::GET, "/api/v1/me"),
    (Method::GET, "/api/v1/fleet"),
    (Method::GET, "/api/v1/robots"),
    (Method::GET, "/api/v1/robots/{robot}"),
    (Method::GET, "/api/v1/robots/{robot}/signals"),
    (Method::GET, "/api/v1/robots/{robot}/telemetry"),
    (Method::GET, "/api/v1/procedures"),
    (Method::GET, "/api/v1/procedures/{procedure}"),
    (Method::GET, "/api/v1/outcomes"),
    (Method::GET, "/api/v1/maintenance"),
    (Method::GET, "/api/v1/instruments"),
    (Method::GET, "/api/v1/components"),
    (Method::GET, "/api/v1/alerts"),
    (Method::GET, "/api/v1/alerts/transitions"),
    (Method::GET, "/api/v1/alerts/{condition}"),
    (Method::POST, "/api/v1/alerts/{condition}/acknowledge"),
    (Method::POST, "/api/v1/alerts/{condition}/unacknowledge"),
    (Method::POST, "/api/v1/alerts/{condition}/assign"),
    (Method::POST, "/api/v1/alerts/{condition}/close"),
    (Method::GET, "/api/v1/silences"),
    (Method::POST, "/api/v1/silences"),
    (Method::DELETE, "/api/v1/silences/{silence}"),
    (Method::GET, "/api/v1/rules"),
    (Method::GET, "/api/v1/rules/changes"),
    (Method::GET, "/api/v1/datasets"),
    (Method::POST, "/api/v1/datasets/{dataset}/records"),
    (Method::GET, "/api/v1/events"),
    (Method::GET, "/api/v1/dead-letters"),
    (Method::GET, "/api/robots"),
    (Method::GET, "/api/robots/{robot}"),
    (Method::GET, "/api/procedures"),
    (Method::GET, "/api/procedures/{procedure}"),
    (Method::GET, "/api/outcomes"),
    (Method::POST, "/ingest/telemetry"),
    (Method::POST, "/ingest/procedure"),
    (Method::POST, "/ingest/outcome"),
    (Method::POST, "/ingest/maintenance"),
    (Method::POST, "/ingest/robot"),
    (Method::POST, "/ingest/batch"),
    (Method::GET, "/ingest/stats"),
];

/// Whether a route is for such a caller, too.
pub(crate) fn is_for_limited(route: &RouteSpec) -> bool {
    ROUTES
        .iter()
        .any(|(method, path)| *method == route.method && *path == route.path)
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use theatre_actors::ports::Role;

    use super::{ROUTES, is_for_limited};
    use crate::deployed::Deployed;
    use crate::routes::{all, find};

    #[test]
    fn each_of_them_is_a_route_that_needs_a_token() {
        for (method, path) in ROUTES {
            let route = find(method, Some(path));
            assert!(route.is_some_and(|route| route.role.is_some()), "{path}");
        }
    }

    #[test]
    fn what_is_about_the_whole_deployment_is_refused_to_who_is_limited() {
        let served = Deployed::start(|_| {});
        let (bound, free) = (
            served.token(Role::Admin, &["FAC-1"]),
            served.token(Role::Admin, &[]),
        );
        let is_plain = |path: &str| !path.contains('{') && !path.ends_with("/events");
        let mut refused = Vec::new();
        for route in all() {
            if route.method != Method::GET || route.role.is_none() || !is_plain(route.path) {
                continue;
            }
            let status = |secret: &str| served.get(route.path, Some(secret), None).unwrap().0;
            // The warehouse of the test has tables for one report only.
            let of_free = if route.path.contains("/analytics/") {
                503
            } else {
                200
            };
            assert_eq!(status(&free), of_free, "{}", route.path);
            let answered = status(&bound);
            let wanted = if is_for_limited(&route) { 200 } else { 403 };
            assert_eq!(answered, wanted, "{}", route.path);
            if answered == 403 {
                refused.push(route.path);
            }
        }
        refused.sort_unstable();
        assert_eq!(
            refused,
            [
                "/api/analytics/outcomes-summary",
                "/api/analytics/procedures-by-category",
                "/api/analytics/robot-utilization",
                "/api/v1/analytics/outcomes-summary",
                "/api/v1/analytics/procedures-by-category",
                "/api/v1/analytics/robot-utilization",
                "/api/v1/audit",
                "/api/v1/facilities",
                "/api/v1/models",
                "/api/v1/pipeline",
                "/api/v1/reports",
                "/api/v1/surgeons",
                "/api/v1/tokens"
            ]
        );
    }
}

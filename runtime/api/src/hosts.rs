//! By which names the interface may be asked without a token.
//!
//! A page of another site can have its own name resolve to this machine, and then reads answers as if they
//! were its own (DNS rebinding). The browser says that name as the host; it has no token to send.

use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::{Authority, Uri};

/// Whether a request says by no other than one of these names, or an address or a name of this machine,
/// whom it asks. One that says nothing is of no browser, which always says it.
pub(crate) fn is_asked_by(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let mut said = headers
        .get_all(header::HOST)
        .map(|host| host.to_str().unwrap_or_default())
        .chain(uri.authority().map(Authority::as_str));
    said.all(|host| is_ours(host, names))
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    // An address is no name that another site could have resolve to anything.
    address.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        let names = ["Theatre.hospital.example".to_owned()];
        for (host, wanted) in [
            ("127.0.0.1", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("10.1.2.3", true),
            ("localhost", true),
            ("LOCALHOST.:80", true),
            ("page.localhost", true),
            ("theatre.hospital.example:443", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evillocalhost", false),
            ("x.theatre.hospital.example", false),
            ("localhost@evil.example", false),
            ("", false),
            ("a b", false),
            ("[localhost]", false),
        ] {
            assert_eq!(is_ours(host, &names), wanted, "{host}");
        }
    }

    #[test]
    fn every_place_that_says_a_host_says_one_of_ours() {
        let asked = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            is_asked_by(&uri.parse().unwrap(), &headers, &[])
        };
        assert!(asked("/", &["localhost"]));
        assert!(asked("https://localhost:8443/", &[]));
        assert!(asked("/", &[]), "it is of no browser");
        assert!(!asked("/", &["localhost", "evil.example"]));
        assert!(!asked("http://evil.example/", &["localhost"]));
        assert!(!asked("http://localhost/", &["evil.example"]));
    }
}

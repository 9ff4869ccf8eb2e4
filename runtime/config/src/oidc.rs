//! The section `[oidc]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::ports::Role;

use super::Config;
use super::ConfigPath;
use super::check::{Faults, Table};

/// Bearer tokens of an OpenID Connect issuer, which the HTTP interface takes beside its own tokens:
/// JWTs that are signed with RS256, PS256, ES256 or EdDSA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcConfig {
    /// The issuer, exactly as its tokens name it (`iss`), such as `https://login.example.org/realm`.
    /// Its keys are found by `/.well-known/openid-configuration` below it, fetched when they are
    /// first needed, every day, and when a token names one that is not known, then at most once a
    /// minute. HTTP without TLS is for an issuer on this machine only. Absent: no such tokens are
    /// taken.
    pub issuer: Option<String>,
    /// For whom tokens must be made (`aud`).
    pub audience: Option<String>,
    /// The claim that has the names of which `roles` speaks: a list, or a text with blanks between
    /// them. Where no claim is called so, dots lead into objects: `realm_access.roles`.
    pub role_claim: String,
    /// What each name lets its bearer do: `viewer`, `operator`, `engineer` or `admin`. The highest
    /// role counts; a token that names none of them is refused.
    #[schemars(with = "BTreeMap<String, String>")]
    pub roles: BTreeMap<String, Role>,
    /// The claim that has the facilities that the bearer is limited to: a list, or a text that is one;
    /// `*` is all of them. A token without the claim is limited to no robot. Absent: no bearer is
    /// limited.
    pub facility_claim: Option<String>,
    /// Certificates that the issuer's is checked against, in PEM. Absent: those of the system.
    pub ca_file: Option<ConfigPath>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            role_claim: "roles".to_owned(),
            roles: BTreeMap::new(),
            facility_claim: None,
            ca_file: None,
        }
    }
}

/// Whether what is fetched from an address comes from it unchanged: by TLS, or from this machine.
pub fn is_secure(url: &str) -> bool {
    if let Some(rest) = url.strip_prefix("https://") {
        return !rest.is_empty() && !rest.starts_with('/');
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A port, or none; no user, by whose name an address can look like another.
    let host = host.rsplit_once(':').map_or(host, |(host, port)| {
        if port.parse::<u16>().is_ok() {
            host
        } else {
            ""
        }
    });
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

impl Table for OidcConfig {
    fn check(&self, _config: &Config, faults: &mut Faults) {
        faults.file("[oidc] ca_file", self.ca_file.as_ref());
        let Some(issuer) = &self.issuer else {
            faults.unless(*self == Self::default(), || {
                "[oidc] issuer is not set: without it the section does nothing".to_owned()
            });
            return;
        };
        let is_clean = !issuer.contains(|c: char| c.is_whitespace() || "?#".contains(c));
        faults.unless(is_clean && is_secure(issuer), || {
            format!(
                "[oidc] issuer: \"{issuer}\" is no address such as https://login.example.org/realm; http:// is for this machine only"
            )
        });
        let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        faults.unless(has(&self.audience), || {
            "[oidc] audience is not set: the issuer's tokens for others would be taken".to_owned()
        });
        faults.unless(!self.roles.is_empty(), || {
            "[oidc] roles is empty: no token would be let in (roles = { \"theatre-viewers\" = \"viewer\" })".to_owned()
        });
        let is_named = !self.role_claim.is_empty() && self.facility_claim.as_deref() != Some("");
        faults.unless(is_named, || {
            "[oidc] role_claim and facility_claim: a claim has a name".to_owned()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::is_secure;

    #[test]
    fn an_address_is_secure_by_tls_or_on_this_machine() {
        for good in [
            "https://login.example.org/realm",
            "http://127.0.0.1:8080/realm",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            assert!(is_secure(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "https:///x",
            "http://login.example.org",
            "http://127.0.0.1:80@login.example.org/",
            "http://127.0.0.1@login.example.org/",
            "http://127.0.0.1.example.org/",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
        ] {
            assert!(!is_secure(bad), "{bad}");
        }
    }
}

//! Tokens of a real signer whose keys change.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use theatre_actors::ports::Role;
use theatre_actors::time::{Clock, LogTime};

use super::Oidc;
use crate::deployed::Deployed;

const NOW_S: i64 = 1_800_000_000;
const AUDIENCE: &str = "theatre";
/// Bytes of a PKCS #8 document before the RSA key of 2048 bits in it.
const PKCS8_HEAD: usize = 26;

/// A clock that is moved by hand.
struct Hand(AtomicI64);

impl Hand {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    fn seconds(&self) -> i64 {
        self.0.load(Ordering::SeqCst) / 1_000_000
    }
}

impl Clock for Hand {
    fn now(&self) -> LogTime {
        LogTime(self.0.load(Ordering::SeqCst))
    }
}

/// A key that signs, and what is published of it.
struct Signer {
    algorithm: Algorithm,
    id: &'static str,
    key: EncodingKey,
    published: Value,
}

impl Signer {
    fn new(algorithm: Algorithm, id: &'static str) -> Self {
        let (key, mut published) = match algorithm {
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                let key = EncodingKey::from_ec_der(&pair.serialize_der());
                let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
                (key, json!(jwk))
            }
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
                let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
                let key = EncodingKey::from_ed_der(&pair.serialize_der());
                (
                    key,
                    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"}),
                )
            }
            _ => {
                let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
                let key = EncodingKey::from_rsa_der(&pair.serialize_der()[PKCS8_HEAD..]);
                let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
                (key, json!(jwk))
            }
        };
        published["kid"] = json!(id);
        published["use"] = json!("sig");
        Self {
            algorithm,
            id,
            key,
            published,
        }
    }

    fn header(&self) -> Header {
        Header {
            kid: Some(self.id.to_owned()),
            ..Header::new(self.algorithm)
        }
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// What an issuer publishes, and how often it was asked for.
#[derive(Default)]
struct Published {
    keys: Mutex<Vec<Value>>,
    issuer: Mutex<String>,
    asked: AtomicUsize,
    /// It takes connections and says nothing.
    is_silent: std::sync::atomic::AtomicBool,
}

impl Published {
    /// Publishes these keys and no others.
    fn publish(&self, signers: &[&Signer]) {
        let keys = signers.iter().map(|signer| signer.published.clone());
        *self.keys.lock().unwrap() = keys.collect();
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        if self.is_silent.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
        let issuer = self.issuer.lock().unwrap().clone();
        let body = if line.contains("/.well-known/openid-configuration") {
            self.asked.fetch_add(1, Ordering::SeqCst);
            json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})
        } else {
            json!({"keys": *self.keys.lock().unwrap()})
        };
        let body = body.to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n");
        drop(write!(stream, "{head}\r\n{body}"));
    }
}

/// An issuer on this machine; it has no keys yet.
fn issuer() -> (String, Arc<Published>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/realm", listener.local_addr().unwrap());
    let published = Arc::new(Published::default());
    *published.issuer.lock().unwrap() = url.clone();
    let answering = published.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answering = answering.clone();
            std::thread::spawn(move || answering.answer(stream));
        }
    });
    (url, published)
}

/// A deployment that takes an issuer's tokens.
struct Case {
    served: Deployed,
    clock: Arc<Hand>,
    issuer: String,
    published: Arc<Published>,
}

impl Case {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Oidc)) -> Self {
        let (issuer, published) = issuer();
        let role = |name: &str, role| (name.to_owned(), role);
        let mut oidc = Oidc {
            issuer: issuer.clone(),
            audience: AUDIENCE.to_owned(),
            role_claim: "roles".to_owned(),
            roles: [
                role("theatre-admins", Role::Admin),
                role("nurses", Role::Viewer),
            ]
            .into(),
            facility_claim: None,
            ca_file: None,
        };
        change(&mut oidc);
        let clock = Arc::new(Hand(AtomicI64::new(NOW_S * 1_000_000)));
        let served = Deployed::at(clock.clone(), |settings| settings.oidc = Some(oidc));
        Self {
            served,
            clock,
            issuer,
            published,
        }
    }

    /// What a good token says.
    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "anna", "roles": ["nurses", "others"],
            "exp": self.clock.seconds() + 300,
        })
    }

    fn me(&self, token: &str) -> (u16, Value) {
        self.served.get("/api/v1/me", Some(token), None).unwrap()
    }

    fn status(&self, token: &str) -> u16 {
        self.me(token).0
    }

    /// How often the keys were asked for.
    fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }
}

#[test]
fn a_token_of_each_algorithm_lets_its_bearer_in() {
    let case = Case::new();
    let signers = [
        (Algorithm::RS256, "r"),
        (Algorithm::PS256, "p"),
        (Algorithm::ES256, "e"),
        (Algorithm::EdDSA, "d"),
    ]
    .map(|(algorithm, id)| Signer::new(algorithm, id));
    case.published.publish(&signers.each_ref());
    for signer in &signers {
        let (status, me) = case.me(&signer.sign(&case.claims()));
        assert_eq!(status, 200, "{:?}: {me}", signer.algorithm);
        assert_eq!(
            (&me["id"], &me["role"]),
            (&json!("oidc:anna"), &json!("viewer"))
        );
    }
    assert_eq!(case.asked(), 1, "the keys are kept");
    let own = case.served.token(Role::Viewer, &[]);
    assert_eq!(case.status(&own), 200, "own tokens are taken, too");
}

#[test]
fn a_token_that_does_not_say_all_that_it_must_is_refused() {
    let case = Case::new();
    let signer = Signer::new(Algorithm::ES256, "one");
    case.published.publish(&[&signer]);
    let now = case.clock.seconds();
    for (what, claim, value, status) in [
        ("another audience", "aud", json!("others"), 401),
        ("several audiences", "aud", json!(["others", AUDIENCE]), 200),
        ("no audience", "aud", Value::Null, 401),
        ("another issuer", "iss", json!("https://other.example"), 401),
        ("expired", "exp", json!(now - 60), 401),
        ("expired within the leeway", "exp", json!(now - 59), 200),
        ("a text as its end", "exp", json!("later"), 401),
        ("no end", "exp", Value::Null, 401),
        ("not yet", "nbf", json!(now + 61), 401),
        ("soon, within the leeway", "nbf", json!(now + 59), 200),
        ("a text as its beginning", "nbf", json!("now"), 401),
        ("an empty subject", "sub", json!(""), 401),
        ("no subject", "sub", Value::Null, 401),
        ("no role that counts", "roles", json!(["others"]), 403),
        ("no role", "roles", Value::Null, 403),
        ("roles in a text", "roles", json!("others nurses"), 200),
    ] {
        let mut claims = case.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value,
        }
        let (answered, said) = case.me(&signer.sign(&claims));
        assert_eq!(answered, status, "{what}: {said}");
        if status != 200 {
            assert!(
                said["code"].is_string() && said["detail"].is_string(),
                "{said}"
            );
        }
    }
}

#[test]
fn a_signature_that_is_none_or_another_is_refused() {
    let case = Case::new();
    let (one, other) = (
        Signer::new(Algorithm::ES256, "one"),
        Signer::new(Algorithm::ES256, "one"),
    );
    let rsa = Signer::new(Algorithm::RS256, "rsa");
    case.published.publish(&[&one, &rsa]);
    let good = one.sign(&case.claims());
    assert_eq!(case.status(&good), 200);

    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = encoded(&case.claims());
    let mut none = Vec::new();
    for name in ["none", "None", "NONE", ""] {
        let head = encoded(&json!({"alg": name, "typ": "JWT", "kid": "one"}));
        none.push(format!("{head}.{body}."));
        none.push(format!(
            "{head}.{body}.{}",
            good.rsplit('.').next().unwrap()
        ));
    }
    // The public key as a secret that everybody knows.
    let secret = serde_json::to_vec(&one.published).unwrap();
    let shared = Header {
        kid: Some("one".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let shared = encode(&shared, &case.claims(), &EncodingKey::from_secret(&secret)).unwrap();
    // A key that is for one algorithm signs with another.
    let pss = Header {
        kid: Some("rsa".to_owned()),
        ..Header::new(Algorithm::PS256)
    };
    let pss = encode(&pss, &case.claims(), &rsa.key).unwrap();
    let critical = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..one.header()
    };
    let critical = encode(&critical, &case.claims(), &one.key).unwrap();
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let mut richer = case.claims();
    richer["roles"] = json!(["theatre-admins"]);
    let changed = format!("{head}.{}.{signature}", encoded(&richer));
    let bad = [
        other.sign(&case.claims()),
        shared,
        pss,
        critical,
        changed,
        format!("{good}x"),
        format!("{head}.{body}"),
        "a.b.c".to_owned(),
        "nothing".to_owned(),
    ];
    for token in bad.iter().chain(&none) {
        let (status, said) = case.me(token);
        assert_eq!(status, 401, "{token}: {said}");
    }
}

#[test]
fn keys_that_change_are_fetched_and_a_storm_of_unknown_ones_is_not() {
    let case = Case::new();
    let (old, new) = (
        Signer::new(Algorithm::ES256, "old"),
        Signer::new(Algorithm::ES256, "new"),
    );
    case.published.publish(&[&old]);
    let token = |signer: &Signer| signer.sign(&case.claims());
    assert_eq!(case.status(&token(&old)), 200);
    for storm in 0..50 {
        let claims = case.claims();
        let header = Header {
            kid: Some(format!("unknown-{storm}")),
            ..Header::new(Algorithm::ES256)
        };
        let unknown = encode(&header, &claims, &new.key).unwrap();
        assert_eq!(case.status(&unknown), 401);
    }
    assert_eq!(case.asked(), 1, "within a minute it is not asked again");

    case.published.publish(&[&old, &new]);
    assert_eq!(case.status(&token(&new)), 401, "not within the minute");
    case.clock.pass(60);
    assert_eq!(case.status(&token(&new)), 200, "a minute later it is");
    assert_eq!(case.status(&token(&old)), 200);
    assert_eq!(case.asked(), 2);

    // A key that is taken back is known for a day at most.
    case.published.publish(&[&new]);
    case.clock.pass(86_399);
    assert_eq!(case.status(&token(&old)), 200);
    case.clock.pass(1);
    assert_eq!(case.status(&token(&old)), 401);
    assert_eq!(case.status(&token(&new)), 200);
    assert_eq!(case.asked(), 3);
}

#[test]
fn an_issuer_that_does_not_answer_keeps_out_its_own_bearers_only() {
    let case = Case::new();
    let signer = Signer::new(Algorithm::ES256, "one");
    case.published.publish(&[&signer]);
    case.published.is_silent.store(true, Ordering::SeqCst);
    let own = case.served.token(Role::Viewer, &[]);
    let foreign = signer.sign(&case.claims());
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| case.me(&foreign))).collect();
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(case.status(&own), 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "they do not wait");
        for answer in waiting {
            let (status, said) = answer.join().unwrap();
            assert_eq!(
                (status, &said["code"]),
                (503, &json!("unavailable")),
                "{said}"
            );
        }
    });
    case.published.is_silent.store(false, Ordering::SeqCst);
    assert_eq!(case.status(&foreign), 503, "it is not asked at once again");
    case.clock.pass(5);
    assert_eq!(case.status(&foreign), 200);

    // Keys that are there go on while it is away, for a while.
    *case.published.issuer.lock().unwrap() = "http://127.0.0.1/other".to_owned();
    let token = || signer.sign(&case.claims());
    case.clock.pass(86_400);
    assert_eq!(case.status(&token()), 200);
    case.clock.pass(86_400);
    assert_eq!(case.status(&token()), 503);
    assert_eq!(case.status(&own), 200);
}

#[test]
fn the_subject_stands_in_the_audit_trail() {
    let case = Case::with(|oidc| oidc.role_claim = "realm_access.roles".to_owned());
    let signer = Signer::new(Algorithm::EdDSA, "one");
    case.published.publish(&[&signer]);
    let mut claims = case.claims();
    claims["sub"] = json!("auth0/42%");
    claims["realm_access"] = json!({"roles": ["nurses", "theatre-admins"]});
    let url = format!("{}/api/v1/tokens", case.served.server.url());
    let agent = theatre_system::http::agent(&url, None).unwrap();
    let answer = agent
        .post(&url)
        .header("authorization", format!("Bearer {}", signer.sign(&claims)))
        .send_json(json!({"name": "made", "role": "viewer"}))
        .unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    assert_eq!(case.served.trail(), ["oidc:auth0%2F42%25"]);
}

#[test]
fn a_bearer_is_limited_to_the_facilities_of_the_claim() {
    let case = Case::with(|oidc| oidc.facility_claim = Some("sites".to_owned()));
    let signer = Signer::new(Algorithm::ES256, "one");
    case.published.publish(&[&signer]);
    for (sites, is_limited, facilities) in [
        (json!(["FAC-2", "FAC-1"]), true, json!(["FAC-1", "FAC-2"])),
        (json!("FAC 1"), true, json!(["FAC 1"])),
        (json!(["*"]), false, json!([])),
        (json!("*"), false, json!([])),
        (Value::Null, true, json!([])),
        (json!([]), true, json!([])),
        (json!(7), true, json!([])),
    ] {
        let mut claims = case.claims();
        claims["roles"] = json!("theatre-admins");
        claims["sites"] = sites.clone();
        let token = signer.sign(&claims);
        let (status, me) = case.me(&token);
        assert_eq!(status, 200, "{sites}: {me}");
        assert_eq!(me["is_limited"], json!(is_limited), "{sites}");
        assert_eq!(me["facilities"], facilities, "{sites}");
        let trail = case
            .served
            .get("/api/v1/audit", Some(&token), None)
            .unwrap();
        assert_eq!(trail.0, if is_limited { 403 } else { 200 }, "{sites}");
    }
}

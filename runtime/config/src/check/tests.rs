use super::*;

fn faults(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).unwrap();
    config.faults().list().to_vec()
}

#[test]
fn the_defaults_have_no_fault() {
    assert_eq!(faults(""), Vec::<String>::new());
}

#[test]
fn every_value_that_means_nothing_is_named_by_its_key() {
    let on_servers = "pseudonym_key_file = \"/dev/null\"\n[log]\nurl = \"kafka://b:9092\"\n";
    let kafka = |more: &str| format!("{on_servers}{more}");
    let table = [
        ("partitions = 0".to_owned(), "partitions"),
        ("partitions = 4000000000".to_owned(), "partitions"),
        ("save_interval = \"0s\"".to_owned(), "save_interval"),
        ("silence_after = \"0s\"".to_owned(), "silence_after"),
        ("lake_roll_age = \"0s\"".to_owned(), "lake_roll_age"),
        ("record_bytes = 0".to_owned(), "record_bytes"),
        ("record_bytes = 4000000".to_owned(), "record_bytes"),
        ("admin = \"nowhere\"".to_owned(), "admin"),
        ("[api]\nlisten = \"8080\"".to_owned(), "[api] listen"),
        ("[api]\nbody_bytes = 1".to_owned(), "[api] body_bytes"),
        ("[api]\ningests = 0".to_owned(), "[api] ingests"),
        ("[api]\nlisteners = 0".to_owned(), "[api] listeners"),
        (
            "[api]\nanonymous = \"operator\"".to_owned(),
            "[api] anonymous",
        ),
        ("[api]\nanonymous = \"admin\"".to_owned(), "[api] anonymous"),
        (
            "[api]\nhosts = [\"theatre.example.org:80\"]".to_owned(),
            "[api] hosts",
        ),
        ("[api]\nhosts = [\"\"]".to_owned(), "[api] hosts"),
        (
            "[oidc]\nissuer = \"http://login.example.org\"".to_owned(),
            "[oidc] issuer",
        ),
        (
            "[oidc]\nissuer = \"https://login.example.org\"".to_owned(),
            "[oidc] audience",
        ),
        (
            "[oidc]\naudience = \"theatre\"".to_owned(),
            "[oidc] issuer is not set",
        ),
        (
            "[oidc]\nissuer = \"https://a\"\naudience = \"t\"".to_owned(),
            "[oidc] roles",
        ),
        (
            "[oidc]\nca_file = \"/nowhere\"".to_owned(),
            "[oidc] ca_file",
        ),
        (
            "[api]\ntls_cert = \"/nowhere\"".to_owned(),
            "[api] tls_cert: /nowhere",
        ),
        (
            "[api]\ntls_key = \"/dev/null\"".to_owned(),
            "[api] tls_cert and tls_key",
        ),
        ("admin = \"127.0.0.1:99999\"".to_owned(), "admin"),
        ("window_topic = \"a b\"".to_owned(), "window_topic"),
        (
            "[[windows]]\nname = \"w\"\nsize = \"0s\"".to_owned(),
            "windows, \"w\", size",
        ),
        (
            "[[windows]]\nname = \"w\"\nsize = \"1s\"\n[[windows]]\nname = \"w\"\nsize = \"2s\""
                .to_owned(),
            "two of this name",
        ),
        ("schemas = [\"/nowhere.avsc\"]".to_owned(), "schemas"),
        ("schemas = [\"/\"]".to_owned(), "is a folder"),
        ("rules = \"/nowhere.toml\"".to_owned(), "rules"),
        ("schema_folder = \"/nowhere\"".to_owned(), "schema_folder"),
        (
            "pseudonym_key_file = \"/nowhere\"".to_owned(),
            "pseudonym_key_file",
        ),
        ("[log]\nurl = \"http://b:9092\"".to_owned(), "log.url"),
        ("[log]\nurl = \"kafka://b:port\"".to_owned(), "log.url"),
        ("[log]\nurl = \"kafka://b:9092,,c\"".to_owned(), "log.url"),
        (kafka("session_timeout = \"1s\""), "log.session_timeout"),
        (kafka("security = \"sasl_scram\""), "log.username"),
        (kafka("security = \"msk_iam\""), "log.region"),
        (kafka("ca_file = \"/nowhere\""), "log.ca_file"),
        (kafka("fetch_memory = 0"), "log.fetch_memory"),
        (
            format!(
                "record_bytes = 8000000\nlake.enabled = false\n{}",
                kafka("serverless = true")
            ),
            "record_bytes: 8000000 with log.serverless",
        ),
        ("[store]\nurl = \"mysql://b/d\"".to_owned(), "[store] url"),
        (
            "[store]\nurl = \"postgres://b/d\"\npool = 0".to_owned(),
            "[store] pool",
        ),
        (
            "[store]\nurl = \"postgres://b/d\"\npassword_file = \"/nowhere\"".to_owned(),
            "[store] password_file",
        ),
        ("[lake]\nurl = \"gs://b\"".to_owned(), "[lake] url"),
        (
            "[lake]\nurl = \"s3://b/p\"\npart_bytes = 1".to_owned(),
            "[lake] part_bytes",
        ),
        (
            "[lake]\nurl = \"s3://b/p\"\nparts_in_flight = 0".to_owned(),
            "[lake] parts_in_flight",
        ),
        (
            "[lake]\nendpoint = \"b:9000\"".to_owned(),
            "[lake] endpoint",
        ),
        (
            "[warehouse]\nurl = \"redshift://w/d\"".to_owned(),
            "Redshift loads from S3 only",
        ),
        ("[warehouse]\nurl = \"w/d\"".to_owned(), "[warehouse] url"),
        (
            "[lake]\nurl = \"s3://b/p\"\n[warehouse]\nurl = \"redshift://w/d\"\npoll_min = \"9s\""
                .to_owned(),
            "[warehouse] poll_min",
        ),
        (
            "[lake]\nurl = \"s3://b/p\"\n[warehouse]\nurl = \"redshift://w/d\"\nschema = \"A\""
                .to_owned(),
            "[warehouse] schema",
        ),
        (
            "[traces]\nendpoint = \"grpc://c:4317\"".to_owned(),
            "[traces] endpoint",
        ),
        (
            "[traces]\nendpoint = \"c:4318\"".to_owned(),
            "[traces] endpoint",
        ),
        (
            "[traces]\nendpoint = \"http://c?a=b\"".to_owned(),
            "[traces] endpoint",
        ),
        ("[traces]\nper_second = 0".to_owned(), "[traces] per_second"),
        (
            "[traces]\nper_second = -1.5".to_owned(),
            "[traces] per_second",
        ),
        (
            "[traces]\nper_second = 1000".to_owned(),
            "[traces] per_second",
        ),
        (
            "[traces]\nper_second = nan".to_owned(),
            "[traces] per_second",
        ),
        (
            "[traces]\nca_file = \"/nowhere\"".to_owned(),
            "[traces] ca_file",
        ),
        ("[registry]\nurl = \"ftp://r\"".to_owned(), "[registry] url"),
        (
            "[[input]]\ntopic = \"t\"\nkind = \"telemetry\"\nschemas = \"registry\"".to_owned(),
            "needs [registry] url",
        ),
        (
            "[[input]]\ntopic = \"a b\"\nkind = \"telemetry\"".to_owned(),
            "[[input]] topic",
        ),
    ];
    for (text, named) in table {
        let found = faults(&text);
        assert!(
            found.iter().any(|fault| fault.contains(named)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn all_faults_are_told_at_once_and_no_password_is() {
    let text = "partitions = 0\nadmin = \"x\"\n[store]\nurl = \"mysql://u:hush@b/d\"";
    let config: Config = toml::from_str(text).unwrap();
    let shown = config.check().unwrap_err().to_string();
    assert!(
        shown.starts_with("3 faults:")
            && ["partitions", "admin", "[store] url"]
                .iter()
                .all(|key| shown.contains(key))
            && !shown.contains("hush"),
        "{shown}"
    );
}

use crate::Config;

const WEBHOOK: &str = "[[notify]]\nname = \"pager\"\nkind = \"webhook\"\nurl = \"https://h/p\"\nsecret_variable = \"S\"\n";

fn faults(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).unwrap();
    config.faults().list().to_vec()
}

#[test]
fn what_is_right_is_taken_and_has_the_documented_defaults() {
    let sns = "[[notify]]\nname = \"a\"\nkind = \"sns\"\ntopic = \"arn:aws:sns:eu-central-1:123456789012:alerts\"\n";
    let am = "[[notify]]\nname = \"b\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"\n";
    let text = format!("{WEBHOOK}{sns}{am}");
    assert_eq!(faults(&text), Vec::<String>::new());
    let config: Config = toml::from_str(&text).unwrap();
    let pager = &config.notify[0];
    assert_eq!(
        (pager.timeout.to_string(), pager.give_up_after.to_string()),
        ("5s".to_owned(), "1h".to_owned())
    );
    assert_eq!(pager.transitions.len(), 7);
    let repeats: Vec<_> = config.notify.iter().map(|of| of.repeat()).collect();
    assert_eq!(repeats, [None, None, Some(super::REPEAT_DEFAULT)]);
    let never: Config = toml::from_str(&format!("{am}repeat_every = \"0s\"")).unwrap();
    assert_eq!(
        (
            never.notify[0].repeat(),
            faults(&format!("{am}repeat_every = \"0s\""))
        ),
        (None, vec![])
    );
    assert_eq!(config.notify[1].region(), Some("eu-central-1"));
}

#[test]
fn what_means_nothing_is_named_by_recipient_and_key() {
    let with = |more: &str| format!("{WEBHOOK}{more}");
    let of_kind =
        |kind: &str, more: &str| format!("[[notify]]\nname = \"n\"\nkind = \"{kind}\"\n{more}");
    let table = [
        (WEBHOOK.replace("pager", "a b"), "\"a b\" is no name"),
        (format!("{WEBHOOK}{WEBHOOK}"), "two recipients \"pager\""),
        (WEBHOOK.replace("https", "ftp"), "\"pager\", url: expected"),
        (of_kind("webhook", ""), "\"n\", url: it is missing"),
        (with("secret_file = \"/dev/null\""), "either secret_file or"),
        (
            WEBHOOK.replace("secret_variable = \"S\"", "secret_file = \"/nowhere\""),
            "\"pager\", secret_file: /nowhere",
        ),
        (with("topic = \"arn:aws:sns:r:1:t\""), "only kind = \"sns\""),
        (with("timeout = \"1m\""), "\"pager\", timeout: 1m"),
        (with("give_up_after = \"1s\""), "\"pager\", give_up_after"),
        (
            with("repeat_every = \"5m\""),
            "only kind = \"alertmanager\" has it",
        ),
        (
            of_kind(
                "alertmanager",
                "url = \"http://h\"\nrepeat_every = \"500ms\"",
            ),
            "\"n\", repeat_every: 500ms is not within",
        ),
        (with("transitions = []"), "nothing would ever be sent"),
        (
            with("rules = [\"joint2_temperature_hihg\"]"),
            "did you mean \"joint2_temperature_high",
        ),
        (with("robots = [\" \"]"), "\"pager\", robots: one of them"),
        (of_kind("sns", ""), "\"n\", topic: it is missing"),
        (of_kind("sns", "topic = \"alerts\""), "\"alerts\" is no ARN"),
        (
            of_kind(
                "alertmanager",
                "url = \"http://h\"\nsecret_variable = \"S\"",
            ),
            "only kind = \"webhook\"",
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
fn unknown_words_are_refused_with_those_that_there_are() {
    for (text, wanted) in [
        (format!("{WEBHOOK}priorities = [\"hgih\"]"), "`high`"),
        (format!("{WEBHOOK}transitions = [\"rised\"]"), "`raised`"),
        (WEBHOOK.replace("webhook", "webhok"), "`webhook`"),
        (format!("{WEBHOOK}priority = [\"high\"]"), "`priorities`"),
    ] {
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("line"), "{error}");
    }
}

#[test]
fn the_path_of_a_url_is_not_shown() {
    let config: Config = toml::from_str(&WEBHOOK.replace("h/p", "h:8/hush?a=hush")).unwrap();
    let shown = format!(
        "{:?} {}",
        config.notify[0],
        serde_json::to_string(&config).unwrap()
    );
    assert!(
        shown.contains("https://h:8/***") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn rules_that_no_file_has_are_named_with_those_that_there_are() {
    let doubts = |rules: &str| {
        let config: Config = toml::from_str(&format!("{WEBHOOK}rules = {rules}")).unwrap();
        assert_eq!(
            config.faults().list().to_vec(),
            Vec::<String>::new(),
            "{rules}"
        );
        config.doubts()
    };
    assert_eq!(doubts("[]"), Vec::<String>::new());
    let known = "[\"joint2_temperature_high\", \"robot_silent\", \"clock_skew\"]";
    assert_eq!(doubts(known), Vec::<String>::new());
    let found = doubts("[\"joint2_temperature_high\", \"completely_unknown\"]");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("[[notify]] \"pager\", rules: the shipped rules have no rule \"completely_unknown\"; there are ")
            && found[0].contains("joint2_temperature_high"),
        "{found:?}"
    );
}

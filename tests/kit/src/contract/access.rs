//! What every access store does.

use anyhow::{Context, Result, ensure};
use theatre_actors::ports::{
    AccessStore, AuditEntry, AuditFilter, Begun, Reservation, Role, StoredToken,
};
use theatre_actors::time::LogTime;

fn entry(action: &str, target: &str) -> AuditEntry {
    AuditEntry {
        at: LogTime(7),
        who: "tok_admin".to_owned(),
        from: Some("127.0.0.1".to_owned()),
        action: action.to_owned(),
        target: target.to_owned(),
        before: None,
        after: Some("{}".to_owned()),
    }
}

fn token(id: &str) -> StoredToken {
    StoredToken {
        id: id.to_owned(),
        hash: format!("hash of {id}"),
        name: "a gateway\0".to_owned(),
        role: Role::Operator,
        robots: vec!["robot-1".to_owned(), "ö".to_owned()],
        created_at: LogTime(5),
        expires_at: Some(LogTime(i64::MAX)),
        revoked_at: None,
    }
}

/// `one` and `other` are two processes on the same store.
///
/// # Errors
/// Says what is not as it should be.
pub fn keeps_its_contract(one: &dyn AccessStore, other: &dyn AccessStore) -> Result<()> {
    tokens(one, other)?;
    requests(one, other)
}

fn tokens(one: &dyn AccessStore, other: &dyn AccessStore) -> Result<()> {
    ensure!(one.token("hash of a")?.is_none() && one.tokens()?.is_empty());
    for id in ["a", "b"] {
        one.add_token(&token(id), &entry("token.create", id))?;
    }
    ensure!(
        one.add_token(&token("a"), &entry("token.create", "a"))
            .is_err(),
        "an id is given once"
    );
    ensure!(other.token("hash of a")? == Some(token("a")));
    ensure!(other.tokens()? == [token("a"), token("b")]);
    ensure!(other.revoke_token("a", LogTime(9), &entry("token.revoke", "a"))?);
    ensure!(
        !one.revoke_token("a", LogTime(10), &entry("token.revoke", "a"))?
            && !one.revoke_token("none", LogTime(10), &entry("token.revoke", "none"))?,
        "it is revoked already, or not there"
    );
    let revoked = one.token("hash of a")?.context("it is still known")?;
    ensure!(revoked.revoked_at == Some(LogTime(9)));
    let trail = other.audit_trail(10)?;
    let said: Vec<(&str, &str)> = trail
        .iter()
        .map(|entry| (entry.action.as_str(), entry.target.as_str()))
        .collect();
    ensure!(
        said == [
            ("token.revoke", "a"),
            ("token.create", "b"),
            ("token.create", "a")
        ],
        "what did not happen is not there: {said:?}"
    );
    ensure!(trail[1] == entry("token.create", "b") && other.audit_trail(1)?.len() == 1);
    one.note(&entry("alert.close", "c"))?;
    ensure!(other.audit_trail(10)?.first() == Some(&entry("alert.close", "c")));
    ensure!(other.audit_trail(10)?.len() == 4, "it stands for itself");
    let of = |filter: AuditFilter| -> Result<Vec<(u64, String)>> {
        let found = other.audit_page(&filter)?.into_iter();
        Ok(found
            .map(|(number, entry)| (number, format!("{} {}", entry.action, entry.target)))
            .collect())
    };
    let all = AuditFilter {
        limit: 9,
        ..AuditFilter::default()
    };
    let found = of(all.clone())?;
    let shown: Vec<&str> = found.iter().map(|(_, shown)| &**shown).collect();
    ensure!(
        shown
            == [
                "alert.close c",
                "token.revoke a",
                "token.create b",
                "token.create a"
            ],
        "{found:?}"
    );
    for (filter, wanted) in [
        (
            AuditFilter {
                before: Some(found[1].0),
                limit: 1,
                ..all.clone()
            },
            &found[2..3],
        ),
        (
            AuditFilter {
                action: Some("token.".to_owned()),
                ..all.clone()
            },
            &found[1..],
        ),
        (
            AuditFilter {
                action: Some("token.create".to_owned()),
                target: Some("b".to_owned()),
                who: Some("tok_admin".to_owned()),
                ..all.clone()
            },
            &found[2..3],
        ),
        (
            AuditFilter {
                action: Some("token".to_owned()),
                ..all.clone()
            },
            &[],
        ),
        (
            AuditFilter {
                who: Some("another".to_owned()),
                ..all
            },
            &[],
        ),
    ] {
        let page = of(filter.clone())?;
        ensure!(page == wanted, "{filter:?}: {page:?}");
    }
    Ok(())
}

fn requests(one: &dyn AccessStore, other: &dyn AccessStore) -> Result<()> {
    let request = |key: &str, at: i64| Reservation {
        key: key.to_owned(),
        fingerprint: "f".to_owned(),
        ends: vec![1, 0, 255],
        begun_at: LogTime(at),
        held_at: LogTime(at),
    };
    ensure!(one.request("k")?.is_none(), "to look reserves nothing");
    ensure!(one.begin_request(&request("k", 100))? == Begun::New);
    ensure!(other.request("k")? == Some(Begun::Unanswered(request("k", 100))));
    ensure!(
        other.begin_request(&request("k", 200))? == Begun::Unanswered(request("k", 100)),
        "the first one counts"
    );
    ensure!(!one.take_over_request("k", LogTime(99), LogTime(300))?);
    ensure!(other.take_over_request("k", LogTime(100), LogTime(300))?);
    ensure!(
        !one.take_over_request("k", LogTime(100), LogTime(301))?,
        "one at a time goes on with it"
    );
    ensure!(
        !one.keep_in_request("k", LogTime(100), b"of one that has lost it")?,
        "only who holds it keeps something in it"
    );
    ensure!(other.keep_in_request("k", LogTime(300), b"kept")?);
    let Some(Begun::Unanswered(kept)) = one.request("k")? else {
        anyhow::bail!("it was not answered");
    };
    ensure!(kept.ends == b"kept" && kept.begun_at == LogTime(100));
    other.finish_request("k", b"answer")?;
    ensure!(!other.keep_in_request("k", LogTime(300), b"too late")?);
    let answered = Begun::Answered {
        fingerprint: "f".to_owned(),
        answer: b"answer".to_vec(),
    };
    ensure!(one.begin_request(&request("k", 400))? == answered);
    ensure!(one.request("k")? == Some(answered));
    ensure!(!one.take_over_request("k", LogTime(300), LogTime(500))?);
    ensure!(one.begin_request(&request("l", 1001))? == Begun::New);
    ensure!(
        one.forget_requests(LogTime(1001))? == 1,
        "only what began before"
    );
    ensure!(one.begin_request(&request("k", 2000))? == Begun::New);
    Ok(())
}

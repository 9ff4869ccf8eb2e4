//! Lists over HTTP: pages that fit together, and what is refused.

use std::cell::Cell;

use serde_json::{Value, json};
use theatre_actors::outputs::{DeadReason, DeadRow, OutputEvent, alert, outcome, phase, procedure};
use theatre_actors::ports::{PartitionCommit, ProcessorSave, Role};
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;
use theatre_schemas::records::{
    Alert, ClinicalResult, Outcome, OutcomeStatus, ProcedurePhase, ProcedureState, SuccessStatus,
};

use crate::deployed::Deployed;

const HOUR: i64 = 3_600_000_000;
/// 2026-01-01.
const DAY: i64 = 1_767_225_600_000_000;

/// A served deployment and what is committed to it.
struct Site {
    served: Deployed,
    secret: String,
    saves: Cell<u64>,
}

impl Site {
    fn new() -> Self {
        let served = Deployed::start(|_| {});
        let secret = served.token(Role::Admin, &[]);
        Self {
            served,
            secret,
            saves: Cell::new(0),
        }
    }

    fn commit(&self, outputs: Vec<OutputEvent>, dead: Vec<DeadRow>) {
        let store = &self.served.store;
        let saves = self.saves.get() + 1;
        self.saves.set(saves);
        let save = ProcessorSave {
            // Of the processor without a name no state is read.
            processor: String::new(),
            save_number: saves,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs,
            dead,
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch: store.acquire(0).unwrap(),
            processors: vec![save],
            floor: Positions::zero(),
        };
        let now: LogTime = self.served.clock.now();
        store.commit(&[commit], now).unwrap();
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.served.get(path, Some(&self.secret), None).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn status(&self, path: &str) -> u16 {
        self.served.get(path, Some(&self.secret), None).unwrap().0
    }

    /// A field of all items of all pages; `between` is done after the first page.
    fn all(&self, path: &str, field: &str, between: impl FnOnce()) -> Vec<Value> {
        let (mut found, mut after) = (Vec::new(), String::new());
        let mut between = Some(between);
        loop {
            let page = self.get(&format!("{path}{after}"));
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item[field].clone()));
            if let Some(between) = between.take() {
                between();
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
            assert!(found.len() < 100, "{found:?}");
        }
    }
}

fn ended(id: &str, revision: i32, hour: i64) -> OutputEvent {
    let outcome = Outcome {
        procedure_id: id.to_owned(),
        robot_id: "r".to_owned(),
        revision,
        status: OutcomeStatus::Completed,
        category: None,
        procedure_type: None,
        surgeon_id: None,
        started_at: None,
        ended_at: DAY + hour * HOUR,
        duration_s: None,
        paused_s: 0.0,
        phases: Vec::new(),
        indicators: Vec::new(),
        alerts_high: 0,
        alerts_medium: 0,
        alerts_low: 0,
        alert_conditions: Vec::new(),
        telemetry_rows: 0,
        telemetry_missing: 0,
        completeness: Some(f64::NAN),
        result: None,
    };
    outcome::output("r", format!("leg-{id}"), &outcome)
}

fn state(id: &str, status: &str, surgeon: &str, hour: i64) -> OutputEvent {
    procedure::output(&ProcedureState {
        leg_id: format!("leg-{id}"),
        procedure_id: id.to_owned(),
        robot_id: "r".to_owned(),
        revision: 0,
        status: status.to_owned(),
        phase: None,
        category: None,
        procedure_type: None,
        surgeon_id: Some(surgeon.to_owned()),
        patient_id: None,
        complexity: None,
        scheduled_at: None,
        started_at: Some(DAY),
        ended_at: (status == "completed").then_some(DAY + hour * HOUR),
        paused_s: 0.0,
        steps: 2,
        changed_at: DAY + hour * HOUR,
        remarks: Vec::new(),
    })
}

#[test]
fn pages_fit_together_while_items_are_revised_and_others_come() {
    let site = Site::new();
    let first = (0..5).map(|it| ended(&format!("p{it}"), 0, it)).collect();
    site.commit(first, Vec::new());
    let list = "/api/v1/outcomes?limit=2";
    let wanted = ["p4", "p3", "p2", "p1", "p0"].map(|id| json!(id));
    let found = site.all(list, "procedure_id", || {
        site.commit(vec![ended("p0", 1, 9), ended("p9", 0, 1)], Vec::new());
    });
    assert_eq!(found, wanted, "the list is as of its first page");
    let found = site.all(list, "procedure_id", || ());
    let wanted = ["p0", "p4", "p3", "p2", "p9", "p1"].map(|id| json!(id));
    assert_eq!(found, wanted);
    let of_day = "/api/v1/outcomes?limit=1&from=2026-01-01T02:00:00Z&until=2026-01-01T04:00:00Z";
    assert_eq!(site.all(of_day, "procedure_id", || ()), ["p3", "p2"]);
}

#[test]
fn outcomes_are_found_by_what_the_hospital_said_of_them() {
    let site = Site::new();
    let said = |id: &str, revision: i32, said: Option<SuccessStatus>| {
        let output = ended(id, revision, 1);
        let mut outcome = Outcome::decode(&output.payload).unwrap();
        outcome.result = said.map(|success_status| ClinicalResult {
            success_status,
            blood_loss_ml: None,
            complications: Vec::new(),
            hospital_stay_days: None,
            readmission_30day: None,
            patient_satisfaction_score: None,
            recovery_score: None,
            follow_up_required: None,
        });
        outcome::output("r", output.id, &outcome)
    };
    let (successful, failed) = (Some(SuccessStatus::Successful), Some(SuccessStatus::Failed));
    let first = vec![
        said("p0", 0, successful),
        said("p1", 0, None),
        said("p2", 0, failed),
        said("p3", 0, successful),
    ];
    site.commit(first, Vec::new());
    site.commit(vec![said("p3", 1, failed)], Vec::new());
    for (path, wanted) in [
        (
            "/api/v1/outcomes?limit=1&success_status=failed",
            vec!["p3", "p2"],
        ),
        (
            "/api/v1/outcomes?limit=1&success_status=successful",
            vec!["p0"],
        ),
        ("/api/outcomes?success_status=complicated", vec![]),
    ] {
        let mut found = site.all(path, "procedure_id", || ());
        found.sort_by_key(|id| std::cmp::Reverse(id.to_string()));
        assert_eq!(found, wanted, "{path}");
    }
    let next = site.get("/api/v1/outcomes?limit=1&success_status=failed")["next"].clone();
    let of_other = format!(
        "/api/v1/outcomes?success_status=successful&after={}",
        next.as_str().unwrap()
    );
    assert_eq!(site.status(&of_other), 400);
    assert_eq!(site.status("/api/v1/outcomes?success_status=good"), 400);
    assert_eq!(
        site.status("/api/v1/maintenance?success_status=failed"),
        400
    );
}

#[test]
fn a_next_that_is_broken_or_of_another_list_is_refused() {
    let site = Site::new();
    site.commit(
        (0..3).map(|it| ended(&format!("p{it}"), 0, it)).collect(),
        Vec::new(),
    );
    let next = site.get("/api/v1/outcomes?limit=1")["next"].clone();
    let next = next.as_str().unwrap();
    assert_eq!(site.status(&format!("/api/v1/outcomes?after={next}")), 200);
    for path in [
        format!("outcomes?after={}", &next[1..]),
        "outcomes?after=x".to_owned(),
        format!("outcomes?robot=r&after={next}"),
        format!("maintenance?after={next}"),
        format!("alerts/transitions?after={next}"),
        format!("robots?after={next}"),
        format!("procedures?after={next}"),
        format!("alerts?after={next}"),
        format!("dead-letters?after={next}"),
        format!("audit?after={next}"),
        format!("models?after={next}"),
    ] {
        assert_eq!(site.status(&format!("/api/v1/{path}")), 400, "{path}");
    }
}

#[test]
fn what_changed_since_an_answer_is_in_the_next_one() {
    let site = Site::new();
    site.commit(vec![ended("p0", 0, 1)], Vec::new());
    let before = site.get("/api/v1/outcomes");
    let as_of = before["as_of"].as_str().unwrap();
    site.commit(vec![ended("p1", 0, 2), ended("p0", 1, 1)], Vec::new());
    let changed = format!("/api/v1/outcomes?limit=1&changed_after={as_of}");
    let found = site.all(&changed, "procedure_id", || ());
    // In the order of commit, each by its last revision; the overlap brings no revision of before.
    assert_eq!(found.len(), 2);
    assert!(
        found.contains(&json!("p0")) && found.contains(&json!("p1")),
        "{found:?}"
    );
    let later = "/api/v1/outcomes?changed_after=2100-01-01T00:00:00Z";
    assert_eq!(site.get(later)["items"], json!([]));
    let transitions = "/api/v1/alerts/transitions?changed_after=2100-01-01T00:00:00Z";
    assert_eq!(site.get(transitions)["items"], json!([]));
}

#[test]
fn transitions_are_listed_each_once_to_the_first() {
    let site = Site::new();
    let moved = (0..5).map(|revision| {
        let alert = Alert {
            alert_id: format!("a{revision}"),
            condition_id: "c".to_owned(),
            robot_id: "r".to_owned(),
            revision,
            event_time: DAY + i64::from(revision) * HOUR,
            ..Alert::default()
        };
        alert::output("r", &alert)
    });
    site.commit(moved.collect(), Vec::new());
    let list = "/api/v1/alerts/transitions?robot=r&limit=2";
    let found = site.all(list, "alert_id", || ());
    assert_eq!(found, ["a4", "a3", "a2", "a1", "a0"]);
    let none = site.all(
        "/api/v1/alerts/transitions?robot=s&limit=2",
        "alert_id",
        || (),
    );
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn procedures_are_listed_by_what_is_asked_and_one_is_shown_with_all_of_it() {
    let site = Site::new();
    let ended_at = DAY + 5 * HOUR;
    site.commit(
        vec![
            state("p1", "under_way", "s1", 1),
            state("p2", "completed", "s2", 5),
            ended("p2", 0, 5),
        ],
        Vec::new(),
    );
    let phase = ProcedurePhase {
        phase_id: "leg-p2/0".to_owned(),
        procedure_id: "p2".to_owned(),
        robot_id: "r".to_owned(),
        leg_id: "leg-p2".to_owned(),
        revision: 0,
        phase_index: 0,
        phase: Some("docking".to_owned()),
        began_at: Some(DAY),
        ended_at,
        is_exact: true,
        row_count: 7,
        late_rows: 0,
        path_length: None,
        economy_of_motion: None,
        idle_time_s: None,
        mean_speed: None,
        smoothness: None,
        mean_squared_jerk: None,
        mean_force: None,
        peak_force: None,
        tool_changes: None,
        camera_moves: None,
        position_unit: None,
        force_unit: None,
        signals: Vec::new(),
    };
    site.commit(vec![ended("p2", 1, 5), phase::output(&phase)], Vec::new());
    let list = |query: &str| {
        site.all(
            &format!("/api/v1/procedures?limit=1{query}"),
            "procedure_id",
            || (),
        )
    };
    assert_eq!(list(""), ["p2", "p1"]);
    assert_eq!(list("&surgeon=s1"), ["p1"]);
    assert_eq!(list("&status=completed"), ["p2"]);
    assert_eq!(list("&status=under+way"), ["p1"]);
    assert_eq!(list("&from=2026-01-01T03:00:00Z"), ["p2"]);
    assert!(list("&facility=FAC-1").is_empty());
    let listed = site.get("/api/v1/procedures?status=completed");
    assert_eq!(listed["items"][0]["outcome"]["revision"], 1, "{listed:#}");
    assert_eq!(
        site.get("/api/procedures?robot_id=r")["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let one = site.get("/api/v1/procedures/p2");
    let leg = &one["items"][0];
    assert_eq!(leg["outcome"]["revision"], 1);
    assert_eq!(leg["phases"][0]["phase"], "docking");
    let revisions = leg["outcome_revisions"].as_array().unwrap();
    let numbers: Vec<&Value> = revisions.iter().map(|it| &it["revision"]).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(site.status("/api/v1/procedures/p3"), 404);
}

#[test]
fn dead_letters_are_listed_by_what_is_asked() {
    let site = Site::new();
    let dead = |offset: u64| DeadRow {
        topic: 0,
        offset,
        append_time: DAY,
        reason: if offset == 1 {
            DeadReason::Future
        } else {
            DeadReason::Invalid
        },
        detail: "why".to_owned(),
        robot_id: Some(format!("r{offset}")),
        schema_id: None,
        payload: b"secret".to_vec(),
        sealed: true,
        size: 3,
        sha256: String::new(),
    };
    site.commit(Vec::new(), (0..3).map(dead).collect());
    let list = |query: &str| {
        site.all(
            &format!("/api/v1/dead-letters?limit=1{query}"),
            "number",
            || (),
        )
    };
    assert_eq!(list(""), [3, 2, 1]);
    assert_eq!(list("&reason=future"), [2]);
    assert_eq!(list("&robot=r2"), [3]);
    assert_eq!(list("&topic=records&reason=invalid"), [3, 1]);
    assert!(list("&topic=other").is_empty());
    assert_eq!(site.status("/api/v1/dead-letters?reason=bad"), 400);
    let (status, said) = site.served.ask(
        "POST",
        "/api/v1/dead-letters/replays",
        "localhost",
        Some(&site.secret),
    );
    assert_eq!(status, 400, "{said}: it says which");
}

#[test]
fn the_audit_trail_says_what_was_before_and_after_and_nothing_secret() {
    let site = Site::new();
    let secret = site.served.token(Role::Viewer, &["FAC-1"]);
    let tokens = site.get("/api/v1/tokens");
    let items = tokens["items"].as_array().unwrap();
    let viewer = items
        .iter()
        .find(|token| token["role"] == "viewer")
        .unwrap();
    let id = viewer["id"].as_str().unwrap();
    let path = format!("/api/v1/tokens/{id}");
    let (status, _) = site
        .served
        .ask("DELETE", &path, "localhost", Some(&site.secret));
    assert_eq!(status, 204);
    let trail = site.get(&format!("/api/v1/audit?action=token.revoke&target={id}"));
    let [entry] = trail["items"].as_array().unwrap().as_slice() else {
        panic!("{trail:#}");
    };
    let read =
        |name: &str| -> Value { serde_json::from_str(entry[name].as_str().unwrap()).unwrap() };
    assert_eq!(read("before")["revoked_at_us"], Value::Null);
    assert!(read("after")["revoked_at_us"].is_i64());
    let all = site.get("/api/v1/audit").to_string();
    assert!(!all.contains(&secret) && !all.contains(&crate::tokens::hash(&secret)));
    let found = site.all("/api/v1/audit?action=token.&limit=1", "action", || ());
    assert_eq!(found, ["token.revoke", "token.create", "token.create"]);
    assert!(
        site.all("/api/v1/audit?who=another&limit=1", "action", || ())
            .is_empty()
    );
}

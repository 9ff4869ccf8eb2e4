//! The page in a real browser: what a person before it sees and does, and what becomes of it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use theatre_tests::browser::{Browser, Scheme};
use theatre_tests::repository;

use super::alerts::{Case, open, post, send, until};
use super::api::{Served, token};
use super::star;

/// Text that does harm where it is taken for markup.
const HARM: &str = "<img src=x onerror=\"document.title='harmed'\"><b>bold</b>";
/// The same in the description of a rule.
const RULES: &str = r#"[[rule]]
id = "hot"
priority = "medium"
dataset = "probe"
latch = true
description = "<script>document.title='harmed'</script> it is hot"
kind = { threshold = { signal = "v", raise_above = 60.0, clear_below = 55.0 } }
[[rule]]
id = "burning"
priority = "high"
dataset = "probe"
kind = { threshold = { signal = "v", raise_above = 70.0, clear_below = 65.0 } }
"#;
/// Each view: its name, its address, the title of the window, and what stands there once it has its
/// data.
const VIEWS: [(&str, &str, &str, &[&str]); 10] = [
    (
        "fleet",
        "fleet",
        "Fleet",
        &["r1", "r2", "burning and 1 more"],
    ),
    (
        "robot",
        "robots/r1?signal=v&span=3600",
        "r1",
        &["Open conditions: 2", "a point for each", "case-1"],
    ),
    (
        "alerts",
        "alerts",
        "Alerts",
        &[
            "Open conditions: 2",
            "burning",
            "not acknowledged",
            "raised",
        ],
    ),
    (
        "condition",
        "alerts/{hot}",
        "{hot}",
        &["hot on r1", "What became of it", "raised"],
    ),
    (
        "procedures",
        "procedures",
        "Procedures",
        &["case-1", "hernia_repair"],
    ),
    (
        "procedure",
        "procedures/case-1",
        "case-1",
        &["On r1", "docking", "minutes"],
    ),
    (
        "reports",
        "reports",
        "Reports",
        &["Ten busiest robots", "Cases by weekday"],
    ),
    (
        "report",
        "reports/monthly_volume",
        "monthly_volume",
        &[
            "Volume of the last 12 months",
            "Download as CSV",
            "mean duration",
        ],
    ),
    (
        "pipeline",
        "pipeline",
        "Pipeline",
        &["partitions of", "Files of the lake"],
    ),
    (
        "rules",
        "rules",
        "Rules",
        &["burning", "raise_above 60", "it is hot"],
    ),
];

/// A deployment with a robot whose signal crosses two limits, one that is well, and a procedure.
struct Shown {
    case: Case,
    served: Served,
    operator: String,
}

impl Shown {
    fn start() -> Result<Self> {
        let case = Case::new()?;
        std::fs::write(case.folder.path().join("rules.toml"), RULES)?;
        // For the reports; what is sent by this test is loaded only later.
        std::fs::create_dir_all(case.data())?;
        drop(star::loaded(&case.data(), &star::small())?);
        let served = case.serve()?;
        let operator = token(&case.data(), &["--role", "operator"])?;
        Ok(Self {
            case,
            served,
            operator,
        })
    }

    fn fill(&self) -> Result<()> {
        let at = |second: i64| 1_767_225_600_000_000_i64 + second * 1_000_000;
        let sample = |second: i64| {
            let v = if second > 170 {
                80.0
            } else {
                40.0 + (second % 7) as f64
            };
            json!({"robot_id": "r1", "event_time": at(second), "sequence": second, "v": v})
        };
        let steps = [
            ("started", None),
            ("phase_started", Some("docking")),
            ("completed", None),
        ];
        let steps = steps.iter().zip(0..).map(|((step, phase), index)| {
            json!({"robot_id": "r1", "event_time": at(20 + index * 60), "event_id": format!("e{index}"), "sequence": index,
                "procedure_id": "case-1", "step": step, "phase": phase, "procedure_type": "hernia_repair"})
        });
        self.post("procedure_events", &steps.collect())?;
        self.post("probe", &(0..180).map(sample).collect())?;
        send(&self.served, &self.operator, "r2", 1, 50.0)?;
        let alerts = until(&self.served, &self.operator, "/api/v1/alerts", |seen| {
            open(seen, "r1", "hot").is_some() && open(seen, "r1", "burning").is_some()
        })?;
        ensure!(open(&alerts, "r2", "hot").is_none(), "{alerts:#}");
        Ok(())
    }

    fn post(&self, dataset: &str, records: &Value) -> Result<()> {
        let path = format!("/api/v1/datasets/{dataset}/records");
        let answer = post(&self.served, &self.operator, &path, records)?;
        ensure!(answer.status == 202, "{answer:?}");
        Ok(())
    }

    fn condition(&self, robot: &str, rule: &str) -> Result<String> {
        let alerts = self
            .served
            .get("/api/v1/alerts", Some(&self.operator))?
            .json();
        let found = open(&alerts, robot, rule).context("it is not open")?;
        Ok(found["condition_id"].as_str().context("no id")?.to_owned())
    }

    /// How a condition stands as the command line says.
    fn listed(&self, rule: &str) -> Result<Value> {
        let all = self.case.json(&self.case.data(), &["alerts", "list"])?;
        let mut all = all.as_array().context("no list")?.iter();
        let found = all.find(|row| row["rule"] == rule || row["rule_id"] == rule);
        Ok(found.context("it is not listed")?.clone())
    }

    fn url(&self, view: &str) -> String {
        format!("http://{}/#/{view}", self.served.address)
    }

    /// Goes to another view, and waits until it is there.
    fn turn_to(&self, browser: &Browser, view: &str, title: &str) -> Result<()> {
        browser.open(&self.url(view))?;
        let title = json!(format!("{title} – Theatre"));
        browser
            .until(&format!("return document.title === {title}"))
            .map(drop)
    }

    /// A browser before a view, with a token.
    fn watch(&self, role: &str, view: &str) -> Result<Browser> {
        let secret = token(&self.case.data(), &["--role", role])?;
        let browser = Browser::start()?;
        browser.open(&self.url(view))?;
        browser.until("return document.getElementById('login').open")?;
        browser.fill("#token", &secret)?;
        browser.click("#login button")?;
        browser.until("return document.getElementById('link').dataset.state === 'live'")?;
        // It was refused once, and said so, before there was a token.
        browser.complaints()?;
        Ok(browser)
    }
}

/// Nothing was complained of.
fn silent(browser: &Browser) -> Result<()> {
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}

/// axe-core objects to nothing, in light and in dark.
fn accessible(browser: &Browser, what: &str) -> Result<()> {
    for scheme in Scheme::ALL {
        browser.prefer(scheme)?;
        let violations = browser.violations()?;
        ensure!(
            violations.is_empty(),
            "{what}, {}: {violations:#?}",
            scheme.name()
        );
    }
    Ok(())
}

fn picture(name: &str, scheme: Scheme) -> PathBuf {
    repository().join(format!("target/page/{name}-{}.png", scheme.name()))
}

#[test]
fn each_view_shows_its_data_without_an_error_and_axe_finds_nothing() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let hot = shown.condition("r1", "hot")?;
    let browser = shown.watch("operator", "fleet")?;
    for (name, view, title, texts) in VIEWS {
        let of_hot = |text: &str| text.replace("{hot}", &hot);
        shown.turn_to(&browser, &of_hot(view), &of_hot(title))?;
        for text in texts {
            browser.shows(text).with_context(|| name.to_owned())?;
        }
        accessible(&browser, name)?;
        for scheme in Scheme::ALL {
            browser.prefer(scheme)?;
            browser.picture(&picture(name, scheme))?;
        }
        let heading = browser.script("return document.querySelectorAll('main h1').length")?;
        ensure!(
            heading == 1,
            "{name} has {heading} headings of the first level"
        );
    }
    silent(&browser)?;
    // What is planted is found: neither axe-core nor the console is deaf.
    browser.script("document.querySelector('main h1').insertAdjacentHTML('afterend', '<img src=\"/assets/icon.svg\">')")?;
    ensure!(!browser.violations()?.is_empty(), "a picture without words");
    browser.script("setTimeout(() => { throw new Error('planted'); })")?;
    shown.turn_to(&browser, "alerts", "Alerts")?;
    let complaints = browser.complaints()?;
    ensure!(
        complaints.iter().any(|said| said.contains("planted")),
        "{complaints:?}"
    );
    Ok(())
}

#[test]
fn what_comes_in_is_shown_without_a_hand_and_keeps_the_focus_where_it_was() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let browser = shown.watch("operator", "alerts")?;
    browser.shows("Open conditions: 2")?;
    // Time stands still for the page: nothing is asked anew but for what the server sends.
    browser.script("Date.now = () => 0")?;
    browser.script("document.querySelector('[aria-label=\"Silence burning on r1\"]').focus()")?;
    send(&shown.served, &shown.operator, "r2", 2, 65.0)?;
    browser.shows("Open conditions: 3")?;
    let focused = browser.script("return document.activeElement.getAttribute('aria-label')")?;
    ensure!(
        focused == "Silence burning on r1",
        "the focus is on {focused}"
    );
    // Another view follows, too.
    shown.turn_to(&browser, "fleet", "Fleet")?;
    send(&shown.served, &shown.operator, "r2", 3, 75.0)?;
    browser.until(
        "return document.querySelector('a[href=\"#/robots/r2\"]').classList.contains('high')",
    )?;
    silent(&browser)
}

#[test]
fn a_person_acknowledges_and_silences_on_the_page_and_the_command_line_says_so() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let before = shown.listed("hot")?;
    ensure!(
        !before.to_string().contains("acknowledged by"),
        "{before:#}"
    );
    let browser = shown.watch("operator", "alerts")?;
    browser.click("[aria-label='Acknowledge hot on r1']")?;
    browser.shows("acknowledged by test")?;
    browser.until("return document.querySelector(\"[aria-label='Take back hot on r1']\")")?;
    browser.click("[aria-label='Silence hot on r1']")?;
    browser.until("return document.getElementById('silence').open")?;
    accessible(&browser, "the dialog of a silence")?;
    // Without a reason it is not sent.
    browser.click("#silence button[value='4h']")?;
    ensure!(browser.script("return document.getElementById('silence').open")? == true);
    browser.fill("#silence-reason", "calibration <i>today</i>")?;
    browser.click("#silence button[value='4h']")?;
    browser.shows("silenced until")?;
    browser.shows("calibration <i>today</i>")?;
    let hot = shown.listed("hot")?;
    let id = shown.condition("r1", "hot")?;
    let history = shown
        .case
        .json(&shown.case.data(), &["alerts", "show", &id])?;
    ensure!(hot["acknowledged_by"] == "test", "{hot:#}");
    ensure!(hot["silenced_until"].is_string(), "{hot:#}");
    let moved: Vec<&str> = history["transitions"]
        .as_array()
        .context("no history")?
        .iter()
        .filter_map(|row| row["transition"].as_str())
        .collect();
    ensure!(
        moved == ["raised", "acknowledged", "silenced"],
        "{history:#}"
    );
    let burning = shown.listed("burning")?;
    ensure!(
        burning["acknowledged_by"].is_null() && burning["silenced_until"].is_null(),
        "{burning:#}"
    );
    // And back.
    browser.click("[aria-label='Take back hot on r1']")?;
    browser.until("return document.querySelector(\"[aria-label='Acknowledge hot on r1']\")")?;
    ensure!(shown.listed("hot")?["acknowledged_by"].is_null());
    silent(&browser)
}

/// Elements that reach beyond the right edge of the screen, and texts that are cut off.
const CUT: &str = "const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll('body *')].filter((element) => {
        const box = element.getBoundingClientRect();
        const isHidden = element.closest('.hidden, thead, .skip, svg, select, .fleet') !== null;
        const isCut = element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === 'hidden' && element.clientWidth > 1;
        return !isHidden && box.width > 0 && (box.right > width + 1 || box.left < -1 || isCut);
    }).map((element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`)";

#[test]
fn on_a_phone_nothing_is_cut_off_and_every_heading_is_in_sight() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let hot = shown.condition("r1", "hot")?;
    let browser = shown.watch("operator", "fleet")?;
    browser.screen(360, 740)?;
    for (name, view, title, texts) in VIEWS {
        let of_hot = |text: &str| text.replace("{hot}", &hot);
        shown.turn_to(&browser, &of_hot(view), &of_hot(title))?;
        for text in texts {
            browser.shows(text).with_context(|| name.to_owned())?;
        }
        let cut = browser.script(CUT)?;
        ensure!(cut == json!([]), "{name}: {cut:#}");
        let top = browser.script("return document.querySelector('main h1').getBoundingClientRect().top - document.querySelector('header').getBoundingClientRect().bottom")?;
        ensure!(
            top.as_f64().is_some_and(|top| (0.0..80.0).contains(&top)),
            "{name}: the heading is {top} below the header"
        );
        accessible(&browser, name)?;
    }
    // Who comes back to a view is where they were.
    shown.turn_to(&browser, "alerts", "Alerts")?;
    browser.shows("raised")?;
    browser.script("scrollTo(0, 200)")?;
    browser.script("location.hash = '#/rules'")?;
    browser.shows("raise_above 60")?;
    ensure!(browser.script("return scrollY")? == 0);
    browser.script("history.back()")?;
    browser.until("return document.title.startsWith('Alerts') && scrollY === 200")?;
    silent(&browser)
}

#[test]
fn a_viewer_has_no_buttons_and_is_refused_all_the_same() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let id = shown.condition("r1", "hot")?;
    let browser = shown.watch("viewer", "alerts")?;
    browser.shows("Open conditions: 2")?;
    for (view, title) in [
        ("alerts".to_owned(), "Alerts"),
        (format!("alerts/{id}"), &id),
        ("robots/r1".to_owned(), "r1"),
    ] {
        shown.turn_to(&browser, &view, title)?;
        browser.shows("not acknowledged")?;
        let buttons = browser.script("return [...document.querySelectorAll('main button')].map((button) => button.textContent).filter((name) => !/^([0-9]+ (min|h|d)|Earlier|Later|Closer|Wider)$/.test(name))")?;
        ensure!(buttons == json!([]), "{view}: {buttons}");
    }
    silent(&browser)?;
    let asked = format!(
        "const done = {{}}; window.asked = done;
        for (const [method, path] of [['POST', 'alerts/{id}/acknowledge'], ['POST', 'silences'], ['POST', 'alerts/{id}/close'], ['DELETE', 'silences/x']]) {{
            fetch(`/api/v1/${{path}}`, {{ method, headers: {{ authorization: `Bearer ${{sessionStorage.getItem('token')}}`, 'content-type': 'application/json' }}, body: '{{}}' }})
                .then((answer) => {{ done[`${{method}} ${{path}}`] = answer.status; }});
        }}"
    );
    browser.script(&asked)?;
    let answers = browser.until("return Object.keys(window.asked).length === 4 && window.asked")?;
    let answers = answers.as_object().context("no answers")?;
    ensure!(answers.values().all(|status| *status == 403), "{answers:?}");
    ensure!(shown.listed("hot")?["acknowledged_by"].is_null());
    Ok(())
}

#[test]
fn a_lost_connection_says_since_when_and_comes_back_by_itself() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let browser = shown.watch("viewer", "alerts")?;
    browser.shows("Open conditions: 2")?;
    silent(&browser)?;
    let address = shown.served.address.clone();
    let Shown {
        case,
        served,
        operator,
    } = shown;
    browser.script("window.before = Date.now()")?;
    drop(served); // killed
    let said = browser.until("return document.getElementById('link').dataset.state === 'lost' && document.getElementById('link').textContent")?;
    browser.script("window.after = Date.now()")?;
    let moments = browser.script("const moments = []; for (let at = window.before; at < window.after + 1000; at += 1000) moments.push(new Date(at).toLocaleTimeString()); return moments")?;
    let said = said.as_str().context("no text")?;
    let mut moments = moments.as_array().context("no moments")?.iter();
    ensure!(
        moments.any(|at| at.as_str().is_some_and(|at| said.contains(at))),
        "{said}"
    );
    browser.shows("Open conditions: 2")?;
    accessible(&browser, "what is shown while the connection is lost")?;
    for scheme in Scheme::ALL {
        browser.prefer(scheme)?;
        browser.picture(&picture("lost", scheme))?;
    }
    // Asked again and again in vain, it still says when it was lost.
    let asked = "performance.getEntriesByType('resource').length";
    let so_far = browser.script(&format!("return {asked}"))?;
    browser.until(&format!("return {asked} > {so_far} + 3"))?;
    let still = browser.script("return document.getElementById('link').textContent")?;
    ensure!(still == said, "{still} instead of {said}");

    let config = case.config();
    let served = Served::start(&case.data(), &address, &["--config", &config, "run"])?;
    browser.until("return document.getElementById('link').dataset.state === 'live' && !('old' in document.body.dataset)")?;
    // Events arrive again, too: nothing is asked for because time has passed.
    browser.complaints()?;
    browser.script("Date.now = () => 0")?;
    send(&served, &operator, "r2", 2, 65.0)?;
    browser.shows("Open conditions: 3")?;
    silent(&browser)
}

#[test]
fn keys_move_between_views_and_the_back_button_returns() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let browser = shown.watch("viewer", "fleet")?;
    browser.shows("r1")?;
    browser.keys("?")?;
    browser.until("return document.getElementById('keys').open")?;
    accessible(&browser, "the list of keys")?;
    // Each key that the list names does what it says.
    let listed = browser.script("return [...document.querySelectorAll('#keys dt')].map((keys) => [[...keys.querySelectorAll('kbd')].map((key) => key.textContent).join(''), keys.nextElementSibling.textContent])")?;
    browser.keys("\u{e00c}")?; // Escape
    browser.until("return !document.getElementById('keys').open")?;
    let listed = listed.as_array().context("no list")?;
    let views = browser.script("return document.querySelectorAll('nav a').length")?;
    let mut went = 0;
    for line in listed {
        let (keys, what) = (
            line[0].as_str().context("no key")?,
            line[1].as_str().context("no word")?,
        );
        if keys.starts_with('g') {
            browser.keys(keys)?;
            let current = json!(what);
            browser.until(&format!(
                "const at = document.querySelector('nav a[aria-current]'); return at && at.textContent === {current} && document.querySelector('main h1').textContent === {current}"
            ))?;
            went += 1;
        }
    }
    ensure!(views == went, "{views} views, {went} of them by keys");
    browser.script("history.back()")?;
    let before = json!(listed[went - 2][1]);
    browser.until(&format!(
        "return document.querySelector('main h1').textContent === {before}"
    ))?;
    // The filter: what is typed there is text, and moves nothing.
    browser.keys("gf")?;
    browser.until("return document.getElementById('filter')")?;
    browser.keys("/")?;
    browser.until("return document.activeElement.id === 'filter'")?;
    browser.keys("r2?ga")?;
    let typed = browser.script("return [document.getElementById('filter').value, location.hash, document.getElementById('keys').open]")?;
    ensure!(
        typed == json!(["r2?ga", "#/fleet?text=r2%3Fga", false]),
        "{typed}"
    );
    browser.keys("\u{e003}\u{e003}\u{e003}")?; // Backspace
    browser.until("const cards = [...document.querySelectorAll('.card b')]; return cards.length === 1 && cards[0].textContent === 'r2'")?;
    silent(&browser)
}

/// The robots that have an element, in the order of the list, and how many the list says to have.
const DRAWN: &str = "const cards = [...document.querySelectorAll('.fleet li')];
    return [cards.map((card) => card.querySelector('b').textContent), cards.length > 0 ? Number(cards[0].getAttribute('aria-setsize')) : 0]";

#[test]
fn each_robot_of_a_large_fleet_is_reached_by_keys_filters_and_scrolling() -> Result<()> {
    const ROBOTS: usize = 2500;
    const SITES: usize = 5;
    let shown = Shown::start()?;
    let begin_us = 1_767_225_600_000_000_i64;
    let name = |robot: usize| format!("robot-{robot:05}");
    for part in 0..5 {
        let of_part = part * ROBOTS / 5..(part + 1) * ROBOTS / 5;
        let entry = |robot: usize| {
            json!({"robot_id": name(robot), "event_time": begin_us, "event_id": format!("{robot}/0"), "serial_number": name(robot),
                "facility_id": format!("FAC-{}", robot % SITES), "robot_model": format!("M{}", robot % 2), "status": "operational"})
        };
        shown.post("robot_registry", &of_part.map(entry).collect())?;
    }
    send(&shown.served, &shown.operator, &name(1234), 1, 75.0)?;
    until(&shown.served, &shown.operator, "/api/v1/fleet", |seen| {
        let robots = seen["robot_id"].as_array().map_or(0, Vec::len);
        let high = seen["high"].as_array().into_iter().flatten();
        robots == ROBOTS && high.filter(|count| **count == 1).count() == 1
    })?;
    let browser = shown.watch("viewer", "fleet")?;
    let drawn = || browser.script(DRAWN);
    let first = |names: &Value| names[0][0].as_str().unwrap_or_default().to_owned();
    browser.shows(&format!("{ROBOTS} robots"))?;
    browser.open(&shown.url("rules"))?;
    browser.shows("it is hot")?;
    // From the turn to the fleet until its cards are there, painted.
    browser.script("window.took = null; const begun = performance.now(); location.hash = '#/fleet';
        const look = () => (document.querySelector('.fleet li') ? requestAnimationFrame(() => { window.took = performance.now() - begun; }) : setTimeout(look, 5)); look();")?;
    let again = browser.until("return window.took")?;
    browser.script("sessionStorage.setItem('kept', '1'); location.reload()")?;
    let whole = browser.until("return document.querySelector('.fleet li') && performance.now()")?;
    println!("{ROBOTS} robots: {again} ms for a view, at most {whole} ms for the page as a whole");
    // The one with something open comes first; few of them have elements.
    let now = drawn()?;
    ensure!(first(&now) == name(1234) && now[1] == ROBOTS, "{now}");
    let many = now[0].as_array().map_or(0, Vec::len);
    ensure!((10..200).contains(&many), "{many} elements");
    accessible(&browser, "a large fleet")?;
    // By keys: there is one stop of the tabulator, and from there to the last one.
    let stops =
        browser.script("return document.querySelectorAll('.fleet a[tabindex=\"0\"]').length")?;
    ensure!(stops == 1, "{stops}");
    browser.script("document.querySelector('.fleet a[tabindex=\"0\"]').focus()")?;
    let at = "return document.activeElement.querySelector('b')?.textContent";
    for (key, wanted) in [
        ("\u{e014}", name(0)),          // Right
        ("\u{e010}", name(ROBOTS - 1)), // End
        ("\u{e012}", name(ROBOTS - 2)), // Left
        ("\u{e011}", name(1234)),       // Home
    ] {
        browser.keys(key)?;
        let reached = browser.script(at)?;
        ensure!(reached == wanted.as_str(), "{reached} instead of {wanted}");
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..ROBOTS {
        let now = drawn()?;
        let names = now[0].as_array().into_iter().flatten();
        seen.extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
        let before = browser.script("return scrollY")?;
        browser.script("scrollBy(0, innerHeight)")?;
        if browser.script("return scrollY")? == before {
            break;
        }
        browser.script("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")?;
    }
    ensure!(
        seen.len() == ROBOTS,
        "{} were seen by scrolling",
        seen.len()
    );
    // Filters, each of which stands in the address.
    let shows = |count: usize| {
        browser.until(&format!("return Number(document.querySelector('.fleet li')?.getAttribute('aria-setsize') || 0) === {count}"))
    };
    browser.script("const box = document.getElementById('fleet-facility'); box.value = 'FAC-3'; box.dispatchEvent(new Event('change'))")?;
    shows(ROBOTS / SITES)?;
    browser.shows(&format!("{} of {ROBOTS} robots are shown", ROBOTS / SITES))?;
    browser.script("const box = document.getElementById('fleet-model'); box.value = 'M1'; box.dispatchEvent(new Event('change'))")?;
    shows(ROBOTS / SITES / 2)?;
    accessible(&browser, "a part of a large fleet")?;
    let address = browser.script("return location.hash")?;
    ensure!(address == "#/fleet?facility=FAC-3&model=M1", "{address}");
    shown.turn_to(&browser, "fleet?text=robot-0243&facility=FAC-3", "Fleet")?;
    shows(2)?;
    // What comes in is shown without a look, in its place.
    shown.turn_to(&browser, "fleet", "Fleet")?;
    shows(ROBOTS)?;
    browser.script("Date.now = () => 0")?;
    send(&shown.served, &shown.operator, &name(77), 1, 65.0)?;
    browser.until(&format!(
        "return document.querySelectorAll('.fleet b')[1].textContent === '{}'",
        name(77)
    ))?;
    silent(&browser)
}

#[test]
fn a_stretch_that_is_dragged_over_is_shown_closer_and_can_be_passed_on() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    let browser = shown.watch("viewer", "robots/r1?signal=v&span=3600")?;
    browser.until("return document.querySelector('.plot polyline.mean')")?;
    ensure!(browser.script("return document.querySelectorAll('.plot line.limit').length")? == 2);
    let rows = "document.querySelectorAll('.plot tbody tr').length";
    let all = browser.script(&format!("return {rows}"))?;
    browser.script("const at = [...document.querySelectorAll('.plot tbody time')].map((time) => Date.parse(time.dateTime));
        window.drawn = [at[0], at.at(-1) - at[0]]")?;
    browser.drag(".plot svg", 0.3, 0.7)?;
    browser.until("return new URLSearchParams(location.hash.split('?')[1]).get('from')")?;
    let shares = browser.script("const query = new URLSearchParams(location.hash.split('?')[1]), [first, length] = window.drawn;
        return ['from', 'until'].map((name) => (Date.parse(query.get(name)) - first) / length)")?;
    let share = |index: usize| shares[index].as_f64().unwrap_or_default();
    ensure!(
        (0.2..0.4).contains(&share(0)) && (0.6..0.85).contains(&share(1)),
        "from and until stand at {shares} of what was drawn"
    );
    let passed = browser.script("return location.hash")?;
    let closer = browser.until(&format!("return {rows} > 0 && {rows} < {all} && {rows}"))?;
    // The same address in a tab that has only the token.
    browser.open("about:blank")?;
    let passed = passed
        .as_str()
        .context("no address")?
        .trim_start_matches("#/")
        .to_owned();
    browser.open(&shown.url(&passed))?;
    browser.until(&format!("return {rows} === {closer}"))?;

    // Who does not drag has buttons, which keep the focus.
    let stretch = "const query = new URLSearchParams(location.hash.split('?')[1]);
        const [from, until] = ['from', 'until'].map((name) => Date.parse(query.get(name)));
        const is = (one, other) => Math.abs(one - other) < 3;";
    for (button, wanted) in [
        (
            "earlier",
            "is(from, was[0] - half) && is(until, was[1] - half)",
        ),
        (
            "closer",
            "is(from, was[0] + half / 2) && is(until, was[1] - half / 2)",
        ),
        (
            "wider",
            "is(from, was[0] - half) && is(until, was[1] + half)",
        ),
    ] {
        browser.script(&format!("{stretch} window.was = [from, until]"))?;
        browser.click(&format!("[data-move={button}]"))?;
        browser
            .until(&format!(
                "{stretch} const half = (was[1] - was[0]) / 2;
                return {wanted} && document.activeElement.dataset.move === '{button}'"
            ))
            .with_context(|| button.to_owned())?;
    }
    // At the end it is live again.
    let mut later = 0;
    while browser.script("return location.hash.includes('from=')")? == true {
        browser.script("window.was = location.hash")?;
        browser.click("[data-move=later]")?;
        browser.until("return location.hash !== was")?;
        later += 1;
        ensure!(later < 9, "it is not live again");
    }
    silent(&browser)
}

#[test]
fn markup_in_what_robots_and_people_say_is_shown_as_text() -> Result<()> {
    let shown = Shown::start()?;
    shown.fill()?;
    send(&shown.served, &shown.operator, HARM, 1, 90.0)?;
    let event = json!({"robot_id": HARM, "event_time": 1_767_225_700_000_000_i64, "event_id": "h", "sequence": 1,
        "procedure_id": HARM, "step": "started", "procedure_type": HARM});
    shown.post("procedure_events", &json!([event]))?;
    until(&shown.served, &shown.operator, "/api/v1/alerts", |seen| {
        open(seen, HARM, "hot").is_some()
    })?;
    let id = shown.condition(HARM, "hot")?;
    let said = json!({"comment": HARM});
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let acted = post(&shown.served, &shown.operator, &path, &said)?;
    ensure!(acted.status == 202, "{acted:?}");
    let silenced = json!({"robot": HARM, "for": "2h", "reason": HARM});
    let acted = post(
        &shown.served,
        &shown.operator,
        "/api/v1/silences",
        &silenced,
    )?;
    ensure!(acted.status == 202, "{acted:?}");
    let browser = shown.watch("operator", "fleet")?;
    let robot: String = HARM.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let refused = "That did not work";
    for (view, title) in [
        ("fleet".to_owned(), "Fleet"),
        ("alerts".to_owned(), "Alerts"),
        (format!("alerts/{id}"), &id),
        (format!("robots/{robot}"), HARM),
        ("procedures".to_owned(), "Procedures"),
        (format!("procedures/{robot}"), HARM),
        (format!("robots/r1?signal={robot}"), refused),
    ] {
        shown.turn_to(&browser, &view, title)?;
        browser.shows("onerror=").with_context(|| view.clone())?;
        let made = browser.script("return document.querySelectorAll('main img, main script, main .card b b, main td b, dialog img').length")?;
        ensure!(made == 0, "{view}: {made} elements were made of text");
        // It would have run by now, and been refused by the content security policy.
        let complaints = browser.complaints()?;
        let is_of_a_script = |said: &String| said.contains("Content Security Policy");
        ensure!(!complaints.iter().any(is_of_a_script), "{complaints:#?}");
    }
    shown.turn_to(&browser, "rules", "Rules")?;
    browser.shows("<script>document.title='harmed'</script>")?;
    shown.turn_to(&browser, "alerts", "Alerts")?;
    browser.shows("Silences")?;
    Ok(())
}

//! A real Chromium, driven over WebDriver: a person before the page.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http;

/// How long a condition is waited for: other tests may have the cores.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a command may take that starts a browser or examines a page.
const COMMAND: Duration = Duration::from_secs(120);
/// The name under which WebDriver passes elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The rules of axe-core that count: WCAG 2.2 AA and what its makers take for good practice.
const AXE: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(
        (found) => done({
            passes: found.passes.length,
            violations: found.violations.map((rule) => `${rule.id}: ${rule.help}: ${rule.nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`),
        }),
        (error) => done({ violations: [String(error)] }));";

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on light ground.
    Light,
    /// Light text on dark ground.
    Dark,
}

impl Scheme {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// As style sheets call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// As a condition of JavaScript takes it.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A browser with one tab; ended at the end.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session; killed first, it would leave it behind.
        let path = format!("/session/{}", self.session);
        drop(self.send("DELETE", &path, &Value::Null));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

impl Browser {
    /// Starts a browser without a window, with nothing in its memory.
    ///
    /// # Errors
    /// When Chromium or its driver is missing or does not start.
    pub fn start() -> Result<Self> {
        let driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=WARNING"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver does not start: on Debian it is in chromium-driver")?;
        let mut browser = Self {
            driver,
            address: String::new(),
            session: String::new(),
        };
        let said = browser.driver.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(said).lines();
        let port = lines
            .by_ref()
            .map_while(std::result::Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            });
        // What it says later is read and left, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
        let port = port.context("chromedriver did not say its port")?;
        browser.address = format!("127.0.0.1:{port}");
        // A container's root has no name space of its own to shut a page in, and little shared
        // memory. The page is the project's own.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--lang=en-GB",
            "--window-size=1280,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": COMMAND.as_millis() as u64, "pageLoad": COMMAND.as_millis() as u64},
        }}});
        let begun = browser.send("POST", "/session", &wanted)?;
        let session = begun["sessionId"].as_str().context("no session")?;
        browser.session = session.to_owned();
        Ok(browser)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let answer = http::request_of_length(COMMAND, &self.address, method, path, &body)
            .with_context(|| format!("{method} {path}"))?;
        let said = answer.json();
        ensure!(
            answer.status == 200,
            "{method} {path}: {}: {}",
            said["value"]["error"],
            said["value"]["message"]
        );
        Ok(said["value"].clone())
    }

    fn command(&self, path: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}/{path}", self.session);
        self.send("POST", &path, body)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// When nothing answers there.
    pub fn open(&self, url: &str) -> Result<()> {
        self.command("url", &json!({"url": url})).map(drop)
    }

    /// Runs a script in the page and gives what it returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn script(&self, script: &str) -> Result<Value> {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script of the page returns something that is true, and gives that.
    ///
    /// # Errors
    /// When it does not within two minutes; the error has what the page shows.
    pub fn until(&self, script: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            // A page that is being opened or drawn anew has no answer yet.
            let seen = self.script(script);
            if let Ok(seen) = &seen
                && is_true(seen)
            {
                return Ok(seen.clone());
            }
            if Instant::now() > end {
                let shown = self.script("return document.body.innerText")?;
                bail!(
                    "never true: {script}: {seen:?}\nthe page shows: {}",
                    shown.as_str().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the main part of the page shows a text.
    ///
    /// # Errors
    /// When it does not within two minutes.
    pub fn shows(&self, text: &str) -> Result<()> {
        let text = json!(text);
        self.until(&format!(
            "return document.getElementById('main').innerText.includes({text})"
        ))
        .map(drop)
    }

    fn find(&self, css: &str) -> Result<String> {
        let found = self.command("element", &json!({"using": "css selector", "value": css}))?;
        let id = found[ELEMENT].as_str().context("no element")?;
        Ok(id.to_owned())
    }

    /// Clicks what a selector finds, where a pointer would; what is drawn anew meanwhile is looked
    /// for again.
    ///
    /// # Errors
    /// When there is nothing to click for two minutes.
    pub fn click(&self, css: &str) -> Result<()> {
        self.again(|| {
            let element = self.find(css)?;
            self.command(&format!("element/{element}/click"), &json!({}))
                .map(drop)
        })
        .with_context(|| format!("{css} cannot be clicked"))
    }

    /// Types into what a selector finds.
    ///
    /// # Errors
    /// When nothing there takes text for two minutes.
    pub fn fill(&self, css: &str, text: &str) -> Result<()> {
        self.again(|| {
            let element = self.find(css)?;
            self.command(&format!("element/{element}/value"), &json!({"text": text}))
                .map(drop)
        })
        .with_context(|| format!("{css} takes no text"))
    }

    fn again(&self, attempt: impl Fn() -> Result<()>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Presses keys one after another, wherever the focus is.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn keys(&self, keys: &str) -> Result<()> {
        let pressed: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                let key = key.to_string();
                ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}))
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": pressed}]});
        self.command("actions", &actions).map(drop)
    }

    /// Drags a pointer over a part of what a selector finds, from one share of its width to
    /// another.
    ///
    /// # Errors
    /// When it is not there.
    pub fn drag(&self, css: &str, from: f64, to: f64) -> Result<()> {
        let css = json!(css);
        let at = self.until(&format!(
            "const found = document.querySelector({css}); if (!found) return null; found.scrollIntoView({{block: 'center'}});
            const box = found.getBoundingClientRect(); return [box.left, box.width, box.top + box.height / 2];"
        ))?;
        let number = |index: usize| at[index].as_f64().context("no box");
        let (left, width, middle) = (number(0)?, number(1)?, number(2)?);
        let go = |share: f64| {
            let x = (left + width * share) as i64;
            json!({"type": "pointerMove", "duration": 50, "x": x, "y": middle as i64})
        };
        let actions = json!({"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
            go(from), {"type": "pointerDown", "button": 0}, go(f64::midpoint(from, to)), go(to), {"type": "pointerUp", "button": 0},
        ]}]});
        self.command("actions", &actions).map(drop)
    }

    /// Has the browser prefer light or dark, as its system would.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn prefer(&self, scheme: Scheme) -> Result<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme.name()}]);
        let command =
            json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.command("goog/cdp/execute", &command).map(drop)
    }

    /// Shows pages as a screen of this size does, in CSS pixels.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn screen(&self, width: u32, height: u32) -> Result<()> {
        let params =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": params});
        self.command("goog/cdp/execute", &command).map(drop)
    }

    /// What the console got since the last call: errors of scripts, what the content security
    /// policy refused, and answers that were errors.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.command("se/log", &json!({"type": "browser"}))?;
        let lines = log.as_array().context("no log")?;
        Ok(lines
            .iter()
            .filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING")
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect())
    }

    /// What axe-core objects to in the page as it stands.
    ///
    /// # Errors
    /// When axe-core is missing (`tests/run` fetches it), or examined nothing.
    pub fn violations(&self) -> Result<Vec<String>> {
        if self.script("return typeof axe")? != "object" {
            let path = std::env::var_os("THEATRE_AXE").map(PathBuf::from);
            let path = path.context("THEATRE_AXE names no axe.min.js; tests/run fetches it")?;
            let axe = std::fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            self.script(&axe)?;
        }
        let found = self.command("execute/async", &json!({"script": AXE, "args": []}))?;
        let violations = found["violations"].as_array().context("no violations")?;
        let texts = violations
            .iter()
            .map(|text| text.as_str().unwrap_or_default().to_owned());
        let violations: Vec<String> = texts.collect();
        ensure!(
            !violations.is_empty() || found["passes"].as_u64() > Some(5),
            "axe-core examined nothing: {found}"
        );
        Ok(violations)
    }

    /// Keeps a picture of what the window shows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn picture(&self, path: &Path) -> Result<()> {
        let command = format!("/session/{}/screenshot", self.session);
        let png = self.send("GET", &command, &Value::Null)?;
        let png = STANDARD.decode(png.as_str().context("no picture")?)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(path, png)?)
    }
}

//! The HTTP interface by TLS, as the real program serves it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use theatre_tests::secured::Authority;
use theatre_tests::{run, theatre};

use crate::api::Served;

/// Certificate and key, where the configuration names them.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn write(folder: &Path, authority: &Authority) -> Result<Self> {
        let issued = authority.issue("127.0.0.1")?;
        let files = Self {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&files.cert, issued.chain)?;
        std::fs::write(&files.key, issued.key)?;
        Ok(files)
    }

    fn variables(&self) -> Result<[(&str, &str); 2]> {
        Ok([
            (
                "THEATRE__API__TLS_CERT",
                self.cert.to_str().context("no text")?,
            ),
            (
                "THEATRE__API__TLS_KEY",
                self.key.to_str().context("no text")?,
            ),
        ])
    }
}

/// What the interface says to who trusts an authority.
fn lives(served: &Served, ca: &Path) -> Result<u16> {
    let url = format!("https://{}/livez", served.address);
    let agent = theatre_system::http::agent(&url, Some(ca))?;
    Ok(agent.get(&url).call()?.status().as_u16())
}

#[test]
fn a_certificate_is_replaced_while_theatre_runs_and_commands_still_reach_it() -> Result<()> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (old, new) = (Authority::new("old")?, Authority::new("new")?);
    let trust = |name: &str, authority: &Authority| -> Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem())?;
        Ok(path)
    };
    let (old_ca, new_ca) = (trust("old-ca.pem", &old)?, trust("new-ca.pem", &new)?);
    let files = Files::write(folder.path(), &old)?;
    let variables = files.variables()?;
    let served = Served::configured(data.path(), "127.0.0.1:0", &["run"], &variables)?;
    ensure!(lives(&served, &old_ca)? == 200);
    ensure!(
        lives(&served, &new_ca).is_err(),
        "it is of the other authority"
    );

    // An embedded log belongs to the process that runs: the command asks it, by TLS.
    run(
        data.path(),
        &["rules", "disable", "joint2_current_high", "--by", "anna"],
    )?;

    std::fs::write(&files.key, "rubbish")?;
    served.says(&["goes on with the certificate", "key.pem"])?;
    ensure!(lives(&served, &old_ca)? == 200, "the old one goes on");
    Files::write(folder.path(), &new)?;
    let end = Instant::now() + Duration::from_secs(30);
    while lives(&served, &new_ca).is_err() {
        ensure!(Instant::now() < end, "the new one is never shown");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(
        lives(&served, &old_ca).is_err(),
        "the old one is shown no more"
    );
    Ok(())
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_before_anything_runs() -> Result<()> {
    let (data, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let authority = Authority::new("authority")?;
    let files = Files::write(folder.path(), &authority)?;
    std::fs::write(&files.key, authority.issue("127.0.0.1")?.key)?;
    for arguments in [&["config", "check"][..], &["run"]] {
        let mut command = theatre(data.path(), arguments)?;
        let output = command.envs(files.variables()?).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let names = said.contains("[api] tls_key") && said.contains("key.pem");
        ensure!(
            !output.status.success() && names && said.contains("not that of the first certificate"),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

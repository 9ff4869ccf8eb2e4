//! What is embedded: the files of log, store and warehouse open and are whole, and the lake's folder
//! can be read.

use std::path::PathBuf;

use theatre_actors::ports::{Error, Result};
use theatre_embedded::inspect::quick_check;
use theatre_embedded::store::EmbeddedStore;
use theatre_operations::checkup::Judgement;

use super::{Deployment, bytes};

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let (config, dir) = (&deployment.config, &deployment.dir);
    let lake = config.lake.enabled;
    let parts: [(&'static str, bool, PathBuf); 3] = [
        ("event log", config.log.url.is_none(), dir.log()),
        ("checkpoint store", config.store.url.is_none(), dir.store()),
        (
            "warehouse",
            lake && config.warehouse.enabled && config.warehouse.url.is_none(),
            dir.warehouse(),
        ),
    ];
    for (what, is_embedded, path) in parts {
        if is_embedded {
            let size = std::fs::metadata(&path).ok().map(|found| found.len());
            let place = path.display().to_string();
            note(judge(what, &place, size, || {
                quick_check(&path, what)?;
                if what == "checkpoint store" {
                    EmbeddedStore::open_read_only(&path)?;
                }
                Ok(())
            }));
        }
    }
    if lake && config.lake.url.is_none() && dir.lake().exists() {
        let folder = dir.lake();
        note(match std::fs::read_dir(&folder) {
            Ok(_) => Judgement::ok(format!("lake: {} can be read", folder.display())),
            Err(error) => Judgement::failed(
                format!("lake: {}: {error}", folder.display()),
                "give this user the right to read and write the folder",
            ),
        });
    }
}

/// Judges a file of so many bytes; none where there is no file.
fn judge(
    what: &str,
    place: &str,
    size: Option<u64>,
    is_whole: impl FnOnce() -> Result<()>,
) -> Judgement {
    let Some(size) = size else {
        return Judgement::ok(format!("{what}: the first start makes {place}"));
    };
    match is_whole() {
        Ok(()) => Judgement::ok(format!("{what}: {place} is whole, {}", bytes(size))),
        Err(error @ Error::Unavailable { .. }) => Judgement::failed(
            format!("{what}: {error}"),
            "another process holds the file, or its disk is full: look at both",
        ),
        Err(error) => Judgement::failed(
            format!("{what}: {error}"),
            "stop the process that runs on it, and restore the data directory from a backup, if the file is damaged",
        ),
    }
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict;

    use super::*;

    #[test]
    fn a_file_is_judged_by_whether_it_is_whole() {
        let damaged = || Err(Error::Refused("it is damaged".to_owned()));
        for (size, whole, verdict) in [
            (None, Ok(()), Verdict::Ok),
            (Some(9), Ok(()), Verdict::Ok),
            (Some(9), damaged(), Verdict::Failed),
            (None, damaged(), Verdict::Ok),
        ] {
            let judged = judge("store", "store.sqlite", size, || whole);
            assert_eq!(judged.verdict, verdict, "{judged:?}");
        }
    }
}

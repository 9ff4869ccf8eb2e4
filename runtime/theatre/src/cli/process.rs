//! What a process has for itself, and what it must have in common with others on its log.

use sha2::{Digest, Sha256};
use theatre_config::{Config, redacted};
use theatre_embedded::data_dir::DataDir;
use theatre_pipeline::progress::Progress;

use super::Failure;

/// What processes that shared the log on Kafka would not have in common.
fn parts_of_this_process(config: &Config) -> Option<String> {
    config.log.url.as_ref()?;
    let all = [
        ("store", config.store.url.is_none()),
        ("lake", config.lake.enabled && config.lake.url.is_none()),
        (
            "warehouse",
            config.warehouse.enabled && config.warehouse.url.is_none(),
        ),
    ];
    let own: Vec<&str> = all
        .into_iter()
        .filter(|(_, own)| *own)
        .map(|(part, _)| part)
        .collect();
    (!own.is_empty()).then(|| {
        format!(
            "{} {}",
            own.join(" and "),
            if own.len() == 1 { "is" } else { "are" }
        )
    })
}

/// Says which of these there are.
pub(super) fn note_own_parts(config: &Config, progress: &Progress) {
    if let Some(parts) = parts_of_this_process(config) {
        let what = format!(
            "{parts} in the data directory of this process: no other may share its log, or what one wrote is missing to the other"
        );
        tracing::warn!("{what}");
        progress.set_notice("configuration", what);
    }
}

/// The key of pseudonyms and seals: the configured file's, or one kept in the data directory.
pub(super) fn pseudonym_key(config: &Config, dir: &DataDir) -> Result<[u8; 32], Failure> {
    match &config.pseudonym_key_file {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|error| Failure::Usage(format!("pseudonym_key_file {}: {error}", path.display())))?;
            <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
                Failure::Usage(format!(
                    "pseudonym_key_file {} has {} bytes, 32 are needed (make one with: head -c 32 /dev/urandom > FILE)",
                    path.display(),
                    bytes.len()
                ))
            })
        }
        None if config.log.url.is_some() => Err(Failure::Usage(
            "pseudonym_key_file is not set: processes that share a log need one key, or the same person gets several pseudonyms (make one with: \
             head -c 32 /dev/urandom > FILE)"
                .to_owned(),
        )),
        None => Ok(dir.pseudonym_key()?),
    }
}

/// A hash of the effective configuration, which shows a process that has another one than the others:
/// without passwords, and without what each process has for itself.
pub(super) fn config_hash(config: &Config) -> Result<String, Failure> {
    let mut shared = config.clone();
    shared.admin.clear();
    shared.log.group_instance_id = None;
    let text = serde_json::to_string(&shared)
        .map_err(|error| Failure::Failed(format!("the configuration: {error}")))?;
    let digest = Sha256::digest(redacted(&text).as_bytes());
    Ok(digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

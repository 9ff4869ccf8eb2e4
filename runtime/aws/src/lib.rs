//! The AWS identity of this process: how both AWS adapters use the credentials that their sections
//! name.

mod causes;

use std::path::Path;

use aws_config::ConfigLoader;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::Credentials;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use theatre_actors::ports::{Error, Result};

pub use causes::{causes, chain};

/// Credentials as handed over, else of the file that `section` names, else from where the SDK looks
/// for them.
///
/// # Errors
/// When there is no such file: the SDK would say only that there are no credentials.
pub fn identified(
    loader: ConfigLoader,
    section: &str,
    handed: Option<Credentials>,
    file: Option<&Path>,
) -> Result<ConfigLoader> {
    match (handed, file) {
        (Some(credentials), _) => Ok(loader.credentials_provider(credentials)),
        (None, Some(file)) => {
            std::fs::File::open(file).map_err(|error| {
                Error::Refused(format!(
                    "[{section}] credentials_file {}: {error}",
                    file.display()
                ))
            })?;
            let files = EnvConfigFiles::builder()
                .with_file(EnvConfigFileKind::Credentials, file)
                .build();
            Ok(loader.credentials_provider(
                ProfileFileCredentialsProvider::builder()
                    .profile_files(files)
                    .build(),
            ))
        }
        (None, None) => Ok(loader),
    }
}

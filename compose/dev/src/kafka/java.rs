//! Java, and Kafka's jars for it: fetched once, by Maven, into a cache that all brokers share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use theatre_actors::ports::{Error, Result};

use crate::process;

/// Names the folder of the jars; they are fetched into it when it has none.
pub const LIBRARIES_VARIABLE: &str = "THEATRE_KAFKA_LIBS";
const VERSION: &str = "4.1.0";
/// Kafka's classes as Java holds them in memory, beside the jars: with it a broker starts with a
/// third of the CPU time. `tests/run` makes it.
const CLASS_ARCHIVE: &str = "classes.jsa";
/// The oldest Java that runs it.
const JAVA: u32 = 17;
/// What Maven fetches: the broker, and the binding without which its log would be silent.
/// `tests/run` fetches by it too.
const POM: &str = include_str!("../kafka.pom.xml");

/// A Java program of Kafka's.
///
/// # Errors
/// Says what is missing and how to install it.
pub fn java(class: &str) -> Result<Command> {
    let libraries = libraries()?;
    let mut command = Command::new("java");
    // The quick compiler alone and one collector thread: a start takes half as long, and the
    // broker is not what is measured.
    command
        .args([
            "-Xms64m",
            "-Xmx512m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Dlog4j2.level=WARN",
        ])
        .args(archive_flags(&libraries.join(CLASS_ARCHIVE)))
        .arg("-cp")
        .arg(libraries.join("*"))
        .arg(class);
    Ok(command)
}

/// The flags with which Java takes classes from an archive; none where there is no archive. An
/// archive of another Java or of other jars is ignored by Java, without a word.
fn archive_flags(archive: &Path) -> Vec<String> {
    if !archive.exists() {
        return Vec::new();
    }
    vec![
        format!("-XX:SharedArchiveFile={}", archive.display()),
        "-Xshare:auto".to_owned(),
        "-Xlog:disable".to_owned(),
        "-Xlog:all=error:stderr".to_owned(),
    ]
}

/// The folder of the jars; fetches them the first time.
fn libraries() -> Result<PathBuf> {
    need_java()?;
    let folder = match std::env::var_os(LIBRARIES_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => cache()?.join("theatre").join(format!("kafka-{VERSION}")),
    };
    let folder = std::path::absolute(&folder)
        .map_err(|error| Error::Refused(format!("{}: {error}", folder.display())))?;
    if !folder.join(format!("kafka_2.13-{VERSION}.jar")).exists() {
        fetch(&folder)?;
    }
    Ok(folder)
}

fn cache() -> Result<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let missing = || {
        Error::Refused(format!(
            "there is no place for Kafka's jars: HOME is not set; name a folder in {LIBRARIES_VARIABLE}"
        ))
    };
    named.or_else(home).ok_or_else(missing)
}

/// Fetches the jars beside `folder` and moves them there in one step: several processes may do so
/// at once.
fn fetch(folder: &Path) -> Result<()> {
    ask("mvn", "--version")?;
    let refused = |error: std::io::Error| {
        Error::Refused(format!(
            "Kafka's jars cannot be put into {}: {error}",
            folder.display()
        ))
    };
    let parent = process::folder(folder.parent().unwrap_or(Path::new("/")))?;
    let ours = parent.join(format!("kafka-fetch-{}", std::process::id()));
    fs::create_dir_all(&ours).map_err(refused)?;
    fs::write(ours.join("pom.xml"), POM).map_err(refused)?;
    let mut command = Command::new("mvn");
    command
        .args([
            "--quiet",
            "--batch-mode",
            "dependency:copy-dependencies",
            "-DoutputDirectory=libs",
        ])
        .current_dir(&ours);
    run(
        &mut command,
        "Maven cannot fetch Kafka's jars from Maven Central",
    )?;
    // An empty folder is replaced; one that another process has filled meanwhile is as good as
    // ours.
    let moved = fs::rename(ours.join("libs"), folder);
    let removed = fs::remove_dir_all(&ours);
    if folder.join(format!("kafka_2.13-{VERSION}.jar")).exists() {
        removed.map_err(refused)
    } else {
        moved.map_err(refused)
    }
}

/// Sees that Java is there and new enough.
fn need_java() -> Result<()> {
    // Said on standard error: `openjdk version "17.0.15" 2025-04-15`.
    let said = ask("java", "-version")?.stderr;
    match java_version(&String::from_utf8_lossy(&said)) {
        Some(version) if version < JAVA => Err(Error::Refused(format!(
            "java is version {version}; Kafka {VERSION} needs {JAVA} or newer"
        ))),
        _ => Ok(()),
    }
}

fn java_version(said: &str) -> Option<u32> {
    let number = said.split('"').nth(1)?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// What a program says of itself; an error names what to install.
fn ask(program: &str, question: &str) -> Result<std::process::Output> {
    let missing = |error| {
        Error::Refused(format!(
            "{program} cannot be started ({error}); Kafka {VERSION} is fetched by Maven and runs on Java {JAVA} or newer. \
             Debian or Ubuntu: apt-get install default-jre-headless maven; macOS: brew install openjdk maven"
        ))
    };
    Command::new(program)
        .arg(question)
        .output()
        .map_err(missing)
}

pub(super) fn run(command: &mut Command, failure: &str) -> Result<()> {
    let output = command
        .output()
        .map_err(|error| Error::Refused(format!("{failure}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Refused(format!(
        "{failure}: {}",
        String::from_utf8_lossy(&said).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_is_read() {
        assert_eq!(
            java_version("openjdk version \"17.0.15\" 2025-04-15"),
            Some(17)
        );
        assert_eq!(java_version("java version \"1.8.0_412\""), Some(1));
        assert_eq!(java_version("no Java at all"), None);
    }
}

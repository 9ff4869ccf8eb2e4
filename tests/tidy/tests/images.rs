//! Whether what is deployed names only images that the tests can run, and the versions that the
//! repository pins elsewhere.

use std::collections::BTreeSet;

use theatre_tidy::source::read;

const COMPOSE: &str = "compose/compose.yaml";
const DOCKERFILE: &str = "Dockerfile";
const TABLE: &str = "tests/ops/images/images.txt";

/// Images that a compose file names, without those of this repository, which a variable names.
fn named_by_compose(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .filter(|image| !image.starts_with("${"))
        .map(str::to_owned)
        .collect()
}

/// The default of an argument of a Dockerfile.
fn argument<'a>(dockerfile: &'a str, name: &str) -> Option<&'a str> {
    dockerfile.lines().find_map(|line| {
        line.strip_prefix("ARG ")?
            .strip_prefix(name)?
            .strip_prefix('=')
    })
}

/// Images that a Dockerfile begins with, its arguments filled in; not its own stages.
fn named_by_dockerfile(text: &str) -> BTreeSet<String> {
    let mut stages = BTreeSet::new();
    let mut images = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let (from, stage) = line.split_once(" AS ").unwrap_or((line, ""));
        let mut image = from.to_owned();
        for name in ["RUST_VERSION", "DEBIAN_RELEASE"] {
            let value = argument(text, name).unwrap_or_default();
            image = image.replace(&format!("${{{name}}}"), value);
        }
        if !stages.contains(&image) {
            images.insert(image);
        }
        stages.insert(stage.to_owned());
    }
    images
}

/// Images of the table, each with its recipe, or with a dash and the reason why there is none.
fn table(text: &str) -> Vec<(String, String, String)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (image, recipe) = (words.next(), words.next());
            let reason: Vec<String> = words.collect();
            (
                image.unwrap_or_default(),
                recipe.unwrap_or_default(),
                reason.join(" "),
            )
        })
        .collect()
}

#[test]
fn every_image_is_in_the_table_of_stand_ins_and_no_other_is() {
    let named: BTreeSet<String> = named_by_compose(&read(COMPOSE))
        .union(&named_by_dockerfile(&read(DOCKERFILE)))
        .cloned()
        .collect();
    assert!(named.len() > 5, "{named:?}");
    let listed: BTreeSet<String> = table(&read(TABLE)).into_iter().map(|row| row.0).collect();
    assert_eq!(named, listed);
}

#[test]
fn every_stand_in_has_a_recipe_or_a_reason() {
    for (image, recipe, reason) in table(&read(TABLE)) {
        if recipe == "-" {
            assert!(reason.len() > 20, "{image}: there is no reason");
            continue;
        }
        let folder = format!("tests/ops/images/{recipe}");
        let made = ["Dockerfile", "image"].iter().any(|file| {
            theatre_tidy::source::root()
                .join(&folder)
                .join(file)
                .is_file()
        });
        assert!(made, "{image}: {folder} makes no image");
    }
}

#[test]
fn images_are_pinned_by_a_version() {
    for (image, ..) in table(&read(TABLE)) {
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{image}");
    }
}

#[test]
fn the_compiler_of_the_images_is_that_of_the_repository() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .map(|channel| channel.trim_matches('"'));
    assert_eq!(argument(&read(DOCKERFILE), "RUST_VERSION"), channel);
}

#[test]
fn kafka_is_the_version_that_the_tests_run_elsewhere() {
    let tested = read("compose/dev/src/kafka.pom.xml");
    let images = named_by_compose(&read(COMPOSE));
    let version = images
        .iter()
        .find_map(|image| image.strip_prefix("apache/kafka:"));
    let version = format!("<version>{}</version>", version.unwrap_or_default());
    assert!(tested.contains(&version), "{version}");
    assert!(read("tests/ops/images/kafka/pom.xml").contains(&version));
}

#[test]
fn images_are_read_as_they_stand() {
    let compose = "services:\n  a:\n    image: kafka:1\n  b:\n    image: ${MINE:-mine:1}\n";
    assert_eq!(named_by_compose(compose), ["kafka:1".to_owned()].into());
    let dockerfile = "ARG RUST_VERSION=1.2\nARG DEBIAN_RELEASE=x\nFROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS one\nFROM one AS two\n";
    assert_eq!(
        named_by_dockerfile(dockerfile),
        ["rust:1.2-x".to_owned()].into()
    );
    let rows = table("# a\na:1  b\nc:2 - for no good reason\n");
    assert_eq!(rows[0], ("a:1".into(), "b".into(), String::new()));
    assert_eq!(rows[1].2, "for no good reason");
}

# What one types every day. `just` lists the recipes; CONTRIBUTING.md has the commands behind them.

# Lists the recipes.
default:
    @just --list

# A simulated fleet on this machine; Ctrl-C stops it.
demo *arguments:
    cargo demo {{ arguments }}

# Whether everything compiles.
check:
    cargo check --workspace --all-targets

# The tests of one crate, such as theatre-actors.
test crate *filter:
    cargo test -p {{ crate }} {{ filter }}

# Tests by a part of their name, wherever they are.
one filter:
    tests/run {{ filter }}

# More seeds of the simulation, such as 0..5000.
seeds range:
    tests/run simulation --seeds {{ range }}

# The rules of the repository and the truth of its documents.
tidy:
    cargo test -p theatre-tidy

# Renews the generated documents.
renew:
    THEATRE_RENEW=1 cargo test -p theatre-tidy generated

# Formats everything.
fmt:
    cargo fmt --all

# Lints, as CI does.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The documentation of all crates; warnings are errors, as in CI.
doc:
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps

# Advisories, licences, bans and origins; needs cargo-deny and GitHub.
deny:
    cargo deny check

# What is deployed, run for real; one of its groups, such as compose.
ops *group:
    tests/run ops {{ group }}

# Everything that decides whether a change lands.
ci:
    .ci/run

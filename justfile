# What CI checks, in the same words.
check:
    .ci/run fmt clippy doc test fuzz library deny

# Everything that CI does, the release build and the smoke test included.
ci:
    .ci/run

# The tests alone.
test *ARGS:
    cargo test {{ARGS}}

# The service, from this checkout.
serve *ARGS:
    cargo run --release -- {{ARGS}}

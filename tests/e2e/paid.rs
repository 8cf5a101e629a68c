//! Both hops at once, as real processes: app, `mulberry connect`, `mulberry serve`, `mulberry worker`, an engine, and a
//! simulated chain that they ask over HTTP, each with a wallet of its own that pays real gas.

mod ask;
mod clocks;
mod closing;
mod killed;
mod overhead;
mod site;
mod thousand;

/// A number that the shell may name.
fn named(variable: &str, otherwise: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let named = std::env::var(variable).ok();
    named.map_or(otherwise, |number| {
        number
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {number}"))
    })
}

//! How often things happened that the invariants are about. A run in which one never does proves nothing of it.

macro_rules! stats {
    ($($name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: u64,)*
        }

        impl Stats {
            pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            pub(crate) fn add(&mut self, more: &Self) {
                $(self.$name += more.$name;)*
            }
        }
    };
}

stats! {
    histories,
    works,
    held,
    over_cap,
    over_deposit,
    reserved,
    short,
    captured,
    stretched,
    committed,
    cancelled,
    cut,
    payer_crashes,
    payee_crashes,
    tower_crashes,
    torn,
    rewound,
    vouchers,
    takes,
    settled,
    chain_refused,
    halts,
    clock_steps,
    owed,
    admitted,
    waived,
    disputed,
    stopped,
    quarantined,
    losses,
    tolerated,
    beside,
    folded,
    foreign,
    bad_vouchers,
    bad_takes,
    lost_vouchers,
    contradictions,
    top_ups,
    tower_settled,
    requested_closes,
    cooperative_closes,
    finished_closes,
    exact,
    exact_beside,
    snapshots,
    never_opened,
}

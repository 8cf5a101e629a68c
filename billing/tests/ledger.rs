//! The rules of the ledger as tables: a line is an operation and what it comes to; adding a case adds a line.
//!
//! Amounts are billionths. A word `key=value` is an option. Pots are written `org:o/total`, `key:k/day`.

use std::fmt::Write as _;

use billing::{
    AccountId, Ask, Bounds, Budget, Charge, ChargeKind, Currency, End, Fee, JournalKind, Ledger, Nano, Pot, Renewal,
    Return, Span, Tariff, Terms, Usage, UsageSource, Windows,
    ledger::{AccountChange, Deposit, NewAccount, PotState, Withdrawal},
};

/// 2026-11-22, noon.
const NOON: i64 = 1_795_348_800_000;
const TTL: i64 = 30_000;

struct Table {
    ledger: Ledger,
    now: i64,
}

/// The words of a line.
struct Line<'a>(Vec<&'a str>);

impl<'a> Line<'a> {
    fn word(&self, place: usize) -> &'a str {
        self.0
            .get(place)
            .copied()
            .unwrap_or_else(|| panic!("word {place} of {:?}", self.0))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| {
            word.split_once('=')
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
        })
    }

    fn account(&self, place: usize) -> AccountId {
        self.word(place).parse().expect("an account")
    }

    fn number(&self, place: usize) -> u64 {
        self.word(place).parse().expect("a number")
    }

    fn amount(&self, place: usize) -> Nano {
        amount(self.word(place))
    }

    fn currency(&self) -> Currency {
        self.option("in").unwrap_or("USD").parse().expect("a currency")
    }

    fn budget(&self) -> Option<Budget> {
        let of = |span| self.option(span).map(amount);
        let budget = Budget {
            total: of("total"),
            day: of("day"),
            month: of("month"),
        };
        (budget != Budget::default() || self.option("budget").is_some()).then_some(budget)
    }

    fn credit(&self) -> Option<Option<Nano>> {
        self.option("credit")
            .map(|credit| (credit != "none").then(|| amount(credit)))
    }
}

fn amount(text: &str) -> Nano {
    match text {
        "most" => Nano::MOST,
        _ => Nano::new(text.parse().expect("a number")).expect("an amount"),
    }
}

impl Table {
    fn pot(&self, text: &str) -> Pot {
        let (account, span) = text.rsplit_once('/').expect("ACCOUNT/SPAN");
        let span = match span {
            "total" => Span::Total,
            "day" => Span::Day,
            "month" => Span::Month,
            other => panic!("no span {other:?}"),
        };
        Pot {
            account: account.parse().expect("an account"),
            window: Windows::at(self.now).of(span),
        }
    }

    fn play(&mut self, line: &Line<'_>) -> String {
        match line.word(0) {
            "account" => {
                let new = NewAccount {
                    id: line.account(1),
                    parent: line.option("parent").map(|parent| parent.parse().expect("an account")),
                    currency: line.currency(),
                    credit: line.credit().flatten(),
                    budget: line.budget().unwrap_or_default(),
                };
                text(&self.ledger.create_account(new))
            }
            "change" => {
                let change = AccountChange {
                    credit: line.credit(),
                    budget: line.budget(),
                    is_disabled: line.option("disabled").map(|word| word == "yes"),
                };
                text(&self.ledger.change_account(&line.account(1), &change))
            }
            "deposit" => {
                let deposited = self.ledger.deposit(Deposit {
                    id: line.word(1).into(),
                    organisation: line.account(2),
                    amount: line.amount(3),
                    currency: line.currency(),
                    memo: "".into(),
                });
                let deposited = deposited.map(|deposited| (deposited.is_new, deposited.balance));
                moved(&deposited)
            }
            "withdraw" => {
                let withdrawn = self.ledger.withdraw(Withdrawal {
                    id: line.word(1).into(),
                    organisation: line.account(2),
                    amount: line.amount(3),
                    currency: line.currency(),
                    memo: "".into(),
                });
                let withdrawn = withdrawn.map(|withdrawn| (withdrawn.is_new, withdrawn.balance));
                moved(&withdrawn)
            }
            "join" => {
                let kind = match line.word(2) {
                    "local" => JournalKind::Local,
                    _ => JournalKind::Direct,
                };
                let joined = self.ledger.join(line.word(1), kind, TTL, self.now);
                format!("epoch {} seq {}", joined.epoch, joined.last_seq)
            }
            "renew" => self.renew(line),
            "post" => self.post(line),
            "leave" => text(&self.ledger.leave(line.word(1), line.number(2))),
            "reap" => format!("{:?}", self.ledger.reap(self.now)),
            "forget" => text(&self.ledger.forget(line.word(1), self.now)),
            "wait" => {
                self.now += i64::try_from(line.number(1)).expect("seconds") * 1000;
                "Ok".to_owned()
            }
            "pot" => {
                let PotState { cap, used, leased } = self.ledger.pot(&self.pot(line.word(1)));
                let cap = cap.map_or("none".to_owned(), |cap| cap.get().to_string());
                format!("used {} leased {} cap {cap}", used.get(), leased.get())
            }
            "balance" => {
                let balance = self.ledger.balance(&line.account(1), line.currency());
                match balance.owed().get() {
                    0 => balance.available().get().to_string(),
                    owed => format!("-{owed}"),
                }
            }
            "verify" => text(&self.ledger.verify()),
            other => panic!("no operation {other:?}"),
        }
    }

    /// `renew NODE EPOCH ROUND ask=POT:AMOUNT give=POT:AMOUNT …`, and of each pot `more+granted/rest`.
    fn renew(&mut self, line: &Line<'_>) -> String {
        let mut renewal = Renewal {
            round: line.number(3),
            ..Renewal::default()
        };
        for (verb, pot) in line.0.iter().filter_map(|word| word.split_once('=')) {
            let (pot, amount_text) = pot.rsplit_once(':').expect("POT:AMOUNT");
            let (pot, amount) = (self.pot(pot), amount(amount_text));
            match verb {
                "ask" => renewal.asks.push(Ask { pot, need: amount }),
                _ => renewal.returns.push(Return { pot, amount }),
            }
        }
        match self.ledger.renew(line.word(1), line.number(2), TTL, self.now, &renewal) {
            Ok(renewed) => renewed
                .grants
                .iter()
                .fold(format!("live {}", renewed.live_nodes), |text, grant| {
                    let rest = match grant.rest {
                        Nano::MOST => "most".to_owned(),
                        rest => rest.get().to_string(),
                    };
                    format!("{text} +{}={}/{rest}", grant.more.get(), grant.granted.get())
                }),
            Err(refusal) => plain(&format!("{refusal:?}")),
        }
    }

    /// `post NODE EPOCH SEQ AMOUNT …`; `of=SEQ` gives back, `held=`, `fee=`, `bounds=BITS`, `by=NODE`. Several charges
    /// of a batch are separated by `+`.
    fn post(&mut self, line: &Line<'_>) -> String {
        let (node, epoch) = (line.word(1), line.number(2));
        let batch = line.0[3..].split(|word| *word == "+").map(|words| {
            let words = Line(words.to_vec());
            let amount_of = |name: &str| words.option(name).map(amount);
            let windows = Windows::at(self.now);
            Charge {
                node: words.option("by").unwrap_or(node).into(),
                seq: words.number(0),
                kind: match words.option("of") {
                    Some(seq) => ChargeKind::Refund {
                        of: seq.parse().expect("a number"),
                    },
                    None => ChargeKind::Capture,
                },
                at_ms: NOON,
                request_id: String::new(),
                organisation: words.option("org").unwrap_or("org:o").parse().expect("an account"),
                team: words.option("team").map(|team| team.parse().expect("an account")),
                key: Some(AccountId::key("k")),
                day: windows.day,
                month: windows.month,
                bounds: Bounds::new(words.option("bounds").map_or(1, |bits| bits.parse().expect("bits")))
                    .expect("nine"),
                currency: words.currency(),
                held: amount_of("held").unwrap_or_else(|| words.amount(1)),
                amount: words.amount(1),
                fee: amount_of("fee").unwrap_or_default(),
                terms: Terms {
                    tariff: Tariff::default(),
                    fee: Fee::default(),
                    currency: words.currency(),
                    rate: None,
                },
                model: String::new(),
                endpoint: String::new(),
                backend: None,
                upstream: None,
                end: End::Complete,
                billed: Usage::default(),
                claimed: None,
                counted: None,
                source: UsageSource::Upstream,
                tags: Vec::new(),
                evidence: None,
            }
        });
        let batch: Vec<Charge> = batch.collect();
        match self.ledger.post(node, epoch, &batch) {
            Ok(posted) => format!("new {} already {} late {}", posted.new, posted.already, posted.late),
            Err(refusal) => plain(&format!("{refusal:?}")),
        }
    }
}

/// `Ok` or the refusal.
fn text<T: std::fmt::Debug, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(value) => match format!("{value:?}").as_str() {
            "()" => "Ok".to_owned(),
            value => value.to_owned(),
        },
        Err(refusal) => plain(&format!("{refusal:?}")),
    }
}

fn moved<E: std::fmt::Debug>(result: &Result<(bool, Nano), E>) -> String {
    match result {
        Ok((true, balance)) => format!("New {}", balance.get()),
        Ok((false, balance)) => format!("Already {}", balance.get()),
        Err(refusal) => plain(&format!("{refusal:?}")),
    }
}

/// Without the names of types around values.
fn plain(debug: &str) -> String {
    let mut plain = debug.to_owned();
    for wrapper in ["Nano(", "AccountId("] {
        while let Some(start) = plain.find(wrapper) {
            let end = start + plain[start..].find(')').expect("it is closed");
            let inner = plain[start + wrapper.len()..end].trim_matches('"').to_owned();
            plain.replace_range(start..=end, &inner);
        }
    }
    plain
}

fn check_in(ledger: Ledger, table: &str) {
    let mut world = Table { ledger, now: NOON };
    let (mut expect, mut actual) = (String::new(), String::new());
    for line in table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (operation, result) = line.split_once('|').unwrap_or_else(|| panic!("no result in {line:?}"));
        let words: Vec<&str> = operation.split_whitespace().collect();
        let answer = world.play(&Line(words.clone()));
        writeln!(expect, "{} | {}", words.join(" "), result.trim()).expect("text");
        writeln!(actual, "{} | {answer}", words.join(" ")).expect("text");
    }
    assert_eq!(actual, expect, "\n{actual}");
    assert_eq!(world.ledger.verify(), Ok(()));
}

fn check(table: &str) {
    check_in(Ledger::shared(), table);
}

#[test]
fn accounts() {
    check(
        "
        account org:o credit=10                       | New
        account org:o credit=10                       | Already
        account org:o credit=11                       | Exists
        account org:o credit=10 day=5                 | Exists
        account org:p parent=org:o                    | WrongParent
        account team:o/t parent=org:o month=7         | New
        account team:o/u                              | WrongParent
        account team:o/u parent=team:o/t              | WrongParent
        account team:q/u parent=org:o                 | WrongParent
        account team:q/u parent=org:q                 | UnknownParent { parent: org:q }
        account team:o/u parent=org:o in=TON          | WrongCurrency { parent: org:o, currency: USD }
        account team:o/u parent=org:o credit=1        | CreditOfNoOrganisation
        account key:k parent=team:o/t day=3           | New
        account key:l                                 | WrongParent
        account key:l parent=key:k                    | WrongParent
        account system:earnings                       | System
        change org:x credit=1                         | UnknownAccount
        change team:o/t credit=1                      | CreditOfNoOrganisation
        change team:o/t credit=none                   | Ok
        change org:o credit=20                        | Ok
        pot org:o/total                               | used 0 leased 0 cap 20
        change org:o total=15                         | Ok
        pot org:o/total                               | used 0 leased 0 cap 15
        change org:o credit=none                      | Ok
        pot org:o/total                               | used 0 leased 0 cap 15
        change org:o budget=none                      | Ok
        pot org:o/total                               | used 0 leased 0 cap none
        pot key:k/day                                 | used 0 leased 0 cap 3
        pot key:k/month                               | used 0 leased 0 cap none
        pot team:o/t/month                            | used 0 leased 0 cap 7
        ",
    );
}

#[test]
fn money_comes_and_goes_once() {
    check(
        "
        account org:o credit=0           | New
        deposit a org:o 100              | New 100
        deposit a org:o 100              | Already 100
        deposit a org:o 101              | Conflict
        deposit b org:x 100              | UnknownOrganisation
        deposit b team:o/t 100           | UnknownOrganisation
        deposit b org:o 100 in=TON       | WrongCurrency { currency: USD }
        deposit b org:o 0                | Zero
        deposit b org:o most             | TooLarge
        balance org:o                    | 100
        balance system:funding           | -100
        withdraw a org:o 10              | Conflict
        withdraw c org:o 30              | New 70
        withdraw c org:o 30              | Already 70
        withdraw c org:o 31              | Conflict
        deposit c org:o 30               | Conflict
        withdraw d org:o 71              | NotEnough { available: 70 }
        withdraw d org:o 0               | Zero
        withdraw d org:x 1               | UnknownOrganisation
        withdraw d org:o 1 in=TON        | WrongCurrency { currency: USD }
        balance org:o                    | 70
        balance system:funding           | -70
        pot org:o/total                  | used 0 leased 0 cap 70
        ",
    );
}

#[test]
fn credit_counts_as_money_and_is_not_withdrawn() {
    check(
        "
        account org:o credit=50          | New
        deposit a org:o most             | TooLarge
        deposit a org:o 100              | New 100
        pot org:o/total                  | used 0 leased 0 cap 150
        withdraw b org:o 101             | NotEnough { available: 100 }
        join n direct                    | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:120  | live 1 +120=120/30
        # 50 of the 120 are credit.
        withdraw b org:o 31              | NotEnough { available: 30 }
        withdraw b org:o 30              | New 70
        renew n 1 2 ask=org:o/total:1    | live 1 +0=120/0
        post n 1 1 120                   | new 1 already 0 late 0
        balance org:o                    | -50
        withdraw c org:o 1               | NotEnough { available: 0 }
        pot org:o/total                  | used 120 leased 0 cap 120
        deposit d org:o 20               | New 0
        ",
    );
}

#[test]
fn slices_never_exceed_what_there_is() {
    check(
        "
        account org:o credit=0                              | New
        deposit a org:o 100                                 | New 100
        renew n 1 1                                         | UnknownNode
        join n direct                                       | epoch 1 seq 0
        join m local                                        | epoch 1 seq 0
        # Half of an equal share, or what is needed.
        renew n 1 1 ask=org:o/total:1                       | live 2 +25=25/75
        renew m 1 1 ask=org:o/total:60                      | live 2 +60=60/15
        renew n 1 2 ask=org:o/total:16                      | live 2 +0=25/15
        renew n 1 3 ask=org:o/total:15                      | live 2 +15=40/0
        renew m 1 2 ask=org:o/total:0                       | live 2 +0=60/0
        # Nothing is taken twice, and nothing late.
        renew n 1 3 give=org:o/total:40                     | Stale { taken: 3 }
        renew n 1 2 give=org:o/total:40                     | Stale { taken: 3 }
        renew n 1 4 give=org:o/total:41                     | ReturnAboveSlice { pot: Pot { account: org:o, window: Total }, returned: 41, left: 40 }
        pot org:o/total                                     | used 0 leased 100 cap 100
        renew n 1 4 give=org:o/total:40 ask=org:o/total:10  | live 2 +10=10/30
        renew n 2 5                                         | Closed
        # What nobody can ask for.
        renew n 1 5 ask=org:x/total:1                       | live 2 +0=0/most
        change org:o disabled=yes                           | Ok
        renew n 1 6 ask=org:o/total:1                       | live 2 +0=10/30
        change org:o disabled=no                            | Ok
        renew n 1 7 ask=org:o/total:1                       | live 2 +7=17/23
        pot org:o/total                                     | used 0 leased 77 cap 100
        ",
    );
}

#[test]
fn a_pot_below_a_disabled_account_gives_nothing() {
    check(
        "
        account org:o credit=0                | New
        account team:o/t parent=org:o         | New
        account key:k parent=team:o/t day=10  | New
        join n direct                         | epoch 1 seq 0
        change team:o/t disabled=yes          | Ok
        renew n 1 1 ask=key:k/day:1           | live 1 +0=0/10
        change team:o/t disabled=no           | Ok
        renew n 1 2 ask=key:k/day:1           | live 1 +5=5/5
        # A bound that was lifted, of which the node has not heard.
        renew n 1 3 ask=key:k/month:7         | live 1 +7=7/most
        ",
    );
}

#[test]
fn a_sole_owner_gets_all() {
    check_in(
        Ledger::sole(),
        "
        account org:o credit=0          | New
        deposit a org:o 100             | New 100
        join n direct                   | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:1   | live 1 +100=100/0
        deposit b org:o 10              | New 110
        renew n 1 2 ask=org:o/total:11  | live 1 +0=100/10
        renew n 1 3 ask=org:o/total:10  | live 1 +10=110/0
        ",
    );
}

#[test]
fn a_budget_that_is_cut_grants_nothing_until_enough_came_back() {
    check(
        "
        account org:o credit=none             | New
        account key:k parent=org:o day=100    | New
        join n direct                         | epoch 1 seq 0
        renew n 1 1 ask=key:k/day:80          | live 1 +80=80/20
        change key:k day=50                   | Ok
        pot key:k/day                         | used 0 leased 80 cap 50
        renew n 1 2 ask=key:k/day:1           | live 1 +0=80/0
        post n 1 1 10 bounds=128              | new 1 already 0 late 0
        pot key:k/day                         | used 10 leased 70 cap 50
        renew n 1 3 give=key:k/day:70         | live 1 +0=10/40
        renew n 1 4 ask=key:k/day:40          | live 1 +40=50/0
        wait 86400                            | Ok
        renew n 1 5 ask=key:k/day:1           | live 1 +25=25/25
        ",
    );
}

#[test]
fn charges_are_posted_once_and_in_order() {
    check(
        "
        account org:o credit=0                    | New
        deposit a org:o 100                       | New 100
        post n 1 1 5                              | UnknownNode
        join n local                              | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:50            | live 1 +50=50/50
        post n 1 1 10 held=30 fee=4               | new 1 already 0 late 0
        post n 1 1 10 held=30 fee=4               | new 0 already 1 late 0
        post n 1 1 11 held=30 fee=4               | Conflict { seq: 1 }
        post n 1 1 10 by=m                        | WrongNode { node: \"m\" }
        post n 2 2 10                             | Closed
        post n 1 3 10                             | Gap { seq: 3, expected: 2 }
        post n 1 2 10 held=9                      | AboveHeld { seq: 2 }
        post n 1 2 10 fee=11                      | FeeAboveAmount { seq: 2 }
        post n 1 2 10 org=org:x                   | UnknownOrganisation { seq: 2 }
        post n 1 2 10 in=TON                      | WrongCurrency { seq: 2, currency: USD }
        post n 1 2 most                           | TooLarge { seq: 2 }
        # A batch is posted whole or not at all.
        post n 1 2 5 + 3 6 held=5                 | AboveHeld { seq: 3 }
        pot org:o/total                           | used 10 leased 40 cap 100
        post n 1 1 10 held=30 fee=4 + 2 5 + 3 6   | new 2 already 1 late 0
        pot org:o/total                           | used 21 leased 29 cap 100
        pot org:o/day                             | used 21 leased 0 cap none
        pot key:k/month                           | used 21 leased 0 cap none
        balance org:o                             | 79
        balance system:earnings                   | 17
        balance system:fees                       | 4
        # Nothing moves, and it is posted.
        post n 1 4 0                              | new 1 already 0 late 0
        join n local                              | epoch 2 seq 4
        ",
    );
}

#[test]
fn a_charge_draws_from_the_pots_that_it_was_held_in() {
    check(
        "
        account org:o credit=0                   | New
        account team:o/t parent=org:o month=50   | New
        deposit a org:o 100                      | New 100
        join n direct                            | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:20 ask=team:o/t/month:20 | live 1 +50=50/50 +25=25/25
        # Bits 0 and 5: the organisation's total, the team's month.
        post n 1 1 10 team=team:o/t bounds=33    | new 1 already 0 late 0
        pot org:o/total                          | used 10 leased 40 cap 100
        pot team:o/t/month                       | used 10 leased 15 cap 50
        # Held before the team had a bound: its slice stays whole, and the use is known.
        post n 1 2 10 team=team:o/t bounds=1     | new 1 already 0 late 0
        pot org:o/total                          | used 20 leased 30 cap 100
        pot team:o/t/month                       | used 20 leased 15 cap 50
        pot team:o/t/day                         | used 20 leased 0 cap none
        ",
    );
}

#[test]
fn what_is_refunded_was_captured() {
    check(
        "
        account org:o credit=0           | New
        deposit a org:o 100              | New 100
        join n local                     | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:50   | live 1 +50=50/50
        post n 1 1 20 fee=5              | new 1 already 0 late 0
        post n 1 2 6 fee=1 of=1          | new 1 already 0 late 0
        post n 1 2 6 fee=1 of=1          | new 0 already 1 late 0
        balance org:o                    | 86
        balance system:earnings          | 10
        balance system:fees              | 4
        pot org:o/total                  | used 14 leased 30 cap 100
        post n 1 3 1 of=7                | UnknownCapture { seq: 3 }
        post n 1 3 1 of=2                | UnknownCapture { seq: 3 }
        post n 1 3 1 of=1 org=org:o team=team:o/t | OtherCapture { seq: 3 }
        post n 1 3 11 of=1               | AboveCapture { seq: 3 }
        post n 1 3 5 fee=5 of=1          | AboveCapture { seq: 3 }
        post n 1 3 14 fee=4 of=1         | new 1 already 0 late 0
        post n 1 4 1 of=1                | AboveCapture { seq: 4 }
        balance org:o                    | 100
        balance system:earnings          | 0
        wait 86400                       | Ok
        post n 1 4 1                     | new 1 already 0 late 0
        wait 86400                       | Ok
        post n 1 5 1 of=4                | OtherCapture { seq: 5 }
        ",
    );
}

#[test]
fn epochs_end() {
    check(
        "
        account org:o credit=0           | New
        deposit a org:o 100              | New 100
        leave n 1                        | UnknownNode
        join n direct                    | epoch 1 seq 0
        renew n 1 1 ask=org:o/total:20   | live 1 +50=50/50
        post n 1 1 10                    | new 1 already 0 late 0
        leave n 2                        | WrongEpoch
        leave n 1                        | Ok
        leave n 1                        | Ok
        pot org:o/total                  | used 10 leased 0 cap 100
        renew n 1 2                      | Closed
        post n 1 2 1                     | Closed
        # What is posted is posted, whatever became of the epoch.
        post n 1 1 10                    | new 0 already 1 late 0
        join n direct                    | epoch 2 seq 1
        leave n 1                        | WrongEpoch
        post n 1 2 1                     | Closed
        renew n 2 1 ask=org:o/total:20   | live 1 +45=45/45
        post n 2 2 1                     | new 1 already 0 late 0
        # A new epoch frees what the old one had.
        join n direct                    | epoch 3 seq 2
        pot org:o/total                  | used 11 leased 0 cap 100
        ",
    );
}

#[test]
fn ended_leases() {
    check(
        "
        account org:o credit=0           | New
        deposit a org:o 100              | New 100
        join d direct                    | epoch 1 seq 0
        join l local                     | epoch 1 seq 0
        renew d 1 1 ask=org:o/total:30   | live 2 +30=30/70
        renew l 1 1 ask=org:o/total:30   | live 2 +30=30/40
        forget x                         | UnknownNode
        wait 29                          | Ok
        reap                             | []
        forget l                         | StillLeased { until_ms: 1795348830000 }
        wait 1                           | Ok
        # A node with a journal keeps its slices: captures that nobody has seen may be in it.
        reap                             | [\"d\"]
        reap                             | []
        pot org:o/total                  | used 0 leased 30 cap 100
        post d 1 1 10                    | Closed
        renew d 1 2                      | Closed
        # It comes back late, and its lease begins anew.
        post l 1 1 10                    | new 1 already 0 late 0
        renew l 1 2 ask=org:o/total:0    | live 1 +0=30/70
        forget l                         | StillLeased { until_ms: 1795348860000 }
        ",
    );
}

#[test]
fn a_forgotten_node_charges_us() {
    check(
        "
        account org:o credit=0                   | New
        deposit a org:o 100                      | New 100
        join l local                             | epoch 1 seq 0
        renew l 1 1 ask=org:o/total:50           | live 1 +50=50/50
        post l 1 1 10                            | new 1 already 0 late 0
        wait 30                                  | Ok
        forget l                                 | Now
        forget l                                 | Already
        pot org:o/total                          | used 10 leased 0 cap 100
        renew l 1 2                              | Closed
        post l 1 2 20 fee=5                      | new 1 already 0 late 1
        post l 1 2 20 fee=5                      | new 0 already 1 late 0
        balance org:o                            | 90
        balance system:loss                      | -20
        balance system:earnings                  | 25
        balance system:fees                      | 5
        pot org:o/total                          | used 10 leased 0 cap 100
        # Back to whoever paid.
        wait 0                                   | Ok
        post l 1 3 4 of=2                        | new 1 already 0 late 1
        post l 1 4 3 of=1                        | new 1 already 0 late 0
        balance system:loss                      | -16
        balance org:o                            | 93
        join l local                             | epoch 2 seq 4
        post l 2 5 1                             | new 1 already 0 late 0
        balance org:o                            | 92
        ",
    );
}

#[test]
fn a_direct_node_is_forgotten_without_a_loss() {
    check(
        "
        account org:o credit=0           | New
        deposit a org:o 100              | New 100
        join d direct                    | epoch 1 seq 0
        wait 30                          | Ok
        forget d                         | Now
        post d 1 1 10                    | Closed
        balance org:o                    | 100
        ",
    );
}

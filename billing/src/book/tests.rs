//! Tables, one line an operation; adding a case adds a line.

use std::{collections::HashMap, fmt::Write as _};

use super::*;
use crate::{AccountId, Ask, Currency, Grant, Return, Span, Window, book::renewal::Settled};

/// 2026-11-22, noon.
const NOON: i64 = 1_795_348_800_000;
const DAY: i64 = 86_400_000;

fn nano(text: &str) -> Nano {
    Nano::saturating(text.parse().expect("a number"))
}

/// Bounds as `key:total team:day org:month`.
fn payer(bounds: &str) -> Arc<Payer> {
    let organisation = AccountId::organisation("o").expect("a name");
    let team = AccountId::team("o/t").expect("a name");
    let key = AccountId::key("k");
    let bounds = bounds.split_whitespace().map(|bound| {
        let (account, span) = bound.split_once(':').expect("ACCOUNT:SPAN");
        let account = match account {
            "org" => &organisation,
            "team" => &team,
            _ => &key,
        };
        (account.clone(), span_of(span))
    });
    Arc::new(Payer {
        bounds: bounds.collect(),
        organisation: organisation.clone(),
        team: Some(team.clone()),
        key: Some(key.clone()),
        currency: Currency::USD,
    })
}

fn span_of(word: &str) -> Span {
    match word {
        "total" => Span::Total,
        "day" => Span::Day,
        _ => Span::Month,
    }
}

/// Plays a table: `OPERATION NAME AMOUNT | RESULT`. `grant BOUND AMOUNT`, `reserve HOLD AMOUNT`, `capture HOLD AMOUNT`,
/// `release HOLD -`, `free BOUND -`, `take BOUND AMOUNT`, `tomorrow - -`, `restart - -`, `forget - -`.
fn check(bounds: &str, table: &str) {
    let payer = payer(bounds);
    let mut book = Book::new();
    let mut holds: HashMap<String, HoldId> = HashMap::new();
    let mut now = NOON;
    let mut expect = String::new();
    let mut actual = String::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (operation, result) = line.split_once('|').expect("an operation and its result");
        let words: Vec<&str> = operation.split_whitespace().collect();
        let [verb, name, amount] = words[..] else {
            panic!("three words in {line:?}")
        };
        let pot = || {
            let place = payer
                .bounds
                .iter()
                .zip(bounds.split_whitespace())
                .find(|(_, bound)| *bound == name);
            let ((account, span), _) = place.expect("a bound of the payer");
            Pot {
                account: account.clone(),
                window: Windows::at(now).of(*span),
            }
        };
        let answer = match verb {
            "grant" => format!("{:?}", book.grant(&pot(), nano(amount))),
            "free" => book.free(&pot()).get().to_string(),
            "take" => book.take_free(&pot(), nano(amount)).get().to_string(),
            "reserve" => match book.reserve(&payer, nano(amount), now) {
                Ok(id) => {
                    holds.insert(name.to_owned(), id);
                    "Ok".to_owned()
                }
                Err(Short { pots }) => pots.iter().fold("short".to_owned(), |text, shortage| {
                    format!("{text} {}:{}", shortage.pot.account.name(), shortage.missing.get())
                }),
            },
            "capture" => match book.capture(holds[name], nano(amount)) {
                Ok(captured) => format!("released {}", captured.released.get()),
                Err(refusal) => format!("{refusal:?}"),
            },
            "release" => match book.release(holds[name]) {
                Ok(amount) => format!("released {}", amount.get()),
                Err(refusal) => format!("{refusal:?}"),
            },
            "affordable" => book.affordable(&payer, now).get().to_string(),
            "tomorrow" => {
                now = now.saturating_add(DAY);
                "Ok".to_owned()
            }
            "restart" => {
                book.restart();
                "Ok".to_owned()
            }
            "forget" => {
                book.forget_past(now);
                book.pots().count().to_string()
            }
            other => panic!("no operation {other:?}"),
        };
        writeln!(expect, "{} | {}", words.join(" "), result.trim()).expect("text");
        writeln!(actual, "{} | {answer}", words.join(" ")).expect("text");
    }
    assert_eq!(actual, expect);
}

#[test]
fn a_hold_is_resolved_once() {
    check(
        "org:total",
        "
        grant    org:total  100 | Ok(())
        reserve  a           40 | Ok
        reserve  b           70 | short o:10
        capture  a           41 | AboveHeld { held: Nano(40) }
        capture  a           25 | released 15
        capture  a           25 | Already
        release  a            - | Already
        free     org:total    - | 75
        reserve  b           75 | Ok
        release  b            - | released 75
        capture  b            1 | Already
        free     org:total    - | 75
        reserve  c            5 | Ok
        release  a            - | Already
        release  b            - | Already
        capture  c            0 | released 5
        ",
    );
}

#[test]
fn all_pots_or_none() {
    check(
        "org:total team:day key:month",
        "
        grant      org:total  100 | Ok(())
        grant      team:day    50 | Ok(())
        reserve    a           60 | short o/t:10 k:60
        free       org:total    - | 100
        grant      key:month   55 | Ok(())
        affordable -            - | 50
        reserve    a           50 | Ok
        free       org:total    - | 50
        free       key:month    - | 5
        reserve    b            1 | short o/t:1
        capture    a           20 | released 30
        free       team:day     - | 30
        free       org:total    - | 80
        affordable -            - | 30
        ",
    );
}

#[test]
fn a_bound_that_is_named_twice_bounds_once() {
    check(
        "org:total org:total",
        "
        grant   org:total 10 | Ok(())
        reserve a         10 | Ok
        free    org:total  - | 0
        release a          - | released 10
        free    org:total  - | 10
        ",
    );
}

#[test]
fn who_has_no_bound_is_never_short() {
    check(
        "",
        "
        affordable - -                   | 9223372036854775807
        reserve    a 9223372036854775807 | Ok
        reserve    b 9223372036854775807 | Ok
        capture    a 9223372036854775807 | released 0
        ",
    );
}

#[test]
fn only_what_is_free_is_taken() {
    check(
        "org:total",
        "
        grant   org:total 100                 | Ok(())
        reserve a         60                  | Ok
        take    org:total 30                  | 30
        take    org:total 30                  | 10
        take    org:total 30                  | 0
        capture a         10                  | released 50
        take    org:total 30                  | 30
        free    org:total -                   | 20
        grant   org:total 9223372036854775807 | Err(TooLarge)
        free    org:total -                   | 20
        ",
    );
}

#[test]
fn a_day_has_room_of_its_own_and_a_hold_stays_in_its_day() {
    check(
        "org:total key:day",
        "
        grant    org:total 100 | Ok(())
        grant    key:day    10 | Ok(())
        reserve  a          10 | Ok
        tomorrow -           - | Ok
        reserve  b          10 | short k:10
        grant    key:day    10 | Ok(())
        reserve  b          10 | Ok
        forget   -           - | 3
        capture  a           4 | released 6
        free     key:day     - | 0
        forget   -           - | 2
        release  b           - | released 10
        free     key:day     - | 10
        ",
    );
}

#[test]
fn a_new_epoch_voids_what_was_held() {
    check(
        "org:total",
        "
        grant   org:total 100 | Ok(())
        reserve a          40 | Ok
        reserve b          40 | Ok
        release b           - | released 40
        restart -           - | Ok
        capture a           1 | Void
        release a           - | Void
        capture b           1 | Void
        free    org:total   - | 0
        grant   org:total  10 | Ok(())
        reserve c          10 | Ok
        capture a           1 | Void
        capture c          10 | released 0
        ",
    );
}

#[test]
fn a_hold_of_another_book_is_unknown() {
    let (mut one, mut other) = (Book::new(), Book::new());
    let payer = payer("");
    let id = one.reserve(&payer, Nano::ZERO, NOON).expect("no bound");
    assert_eq!(other.capture(id, Nano::ZERO), Err(CaptureRefusal::Unknown));
    assert_eq!(other.release(id), Err(ReleaseRefusal::Unknown));
}

#[test]
fn a_charge_is_told_where_and_when_it_was_held() {
    let mut book = Book::new();
    let payer = payer("key:day org:month");
    for pot in payer.pots(Windows::at(NOON)) {
        book.grant(&pot, nano("10")).expect("room for it");
    }
    let id = book.reserve(&payer, nano("10"), NOON).expect("room");
    let captured = book.capture(id, nano("3")).expect("held");
    let bounds = [(&payer.bounds[0], 0b1_000_000 << 1), (&payer.bounds[1], 0b100)];
    let expect = Captured {
        held: nano("10"),
        released: nano("7"),
        day: 20_779,
        month: 682,
        bounds: Bounds::new(bounds.iter().fold(0, |bits, (_, bit)| bits | bit)).expect("nine bits"),
    };
    assert_eq!(captured, expect);
}

fn total() -> Pot {
    Pot {
        account: AccountId::organisation("o").expect("a name"),
        window: Window::Total,
    }
}

fn ask(need: u64) -> Ask {
    Ask {
        pot: total(),
        need: Nano::saturating(need),
    }
}

fn give(amount: u64) -> Return {
    Return {
        pot: total(),
        amount: Nano::saturating(amount),
    }
}

fn granted(more: u64, granted: u64) -> [Grant; 1] {
    [Grant {
        pot: total(),
        more: Nano::saturating(more),
        granted: Nano::saturating(granted),
        rest: Nano::ZERO,
    }]
}

#[test]
fn a_lost_answer_is_made_good_by_the_next() {
    let mut book = Book::new();
    let first = book.renewal(&[ask(10)], &[]);
    // The ledger granted 10, and nobody heard.
    let second = book.renewal(&[], &[]);
    assert_eq!(second.asks, [ask(0)]);
    assert_eq!(book.settle(first.round, &granted(10, 10)), Ok(Settled::Stale));
    assert_eq!(book.free(&total()), Nano::ZERO);
    assert_eq!(book.settle(second.round, &granted(0, 10)), Ok(Settled::Now));
    assert_eq!(book.free(&total()), nano("10"));
    assert_eq!(book.settle(second.round, &granted(0, 10)), Ok(Settled::Stale));
    assert_eq!(book.renewal(&[], &[]).asks, []);
}

#[test]
fn a_lost_return_comes_back() {
    let mut book = Book::new();
    let round = book.renewal(&[ask(10)], &[]).round;
    book.settle(round, &granted(10, 10)).expect("nothing is used");
    // Never reached the ledger.
    let lost = book.renewal(&[], &[give(7)]);
    assert_eq!(lost.returns, [give(7)]);
    assert_eq!(book.free(&total()), nano("3"));
    let round = book.renewal(&[], &[]).round;
    book.settle(round, &granted(0, 10)).expect("nothing is used");
    assert_eq!(book.free(&total()), nano("10"));
}

#[test]
fn an_answer_below_what_is_used_is_refused() {
    let mut book = Book::new();
    let payer = payer("org:total");
    let round = book.renewal(&[ask(10)], &[]).round;
    book.settle(round, &granted(10, 10)).expect("nothing is used");
    let _held = book.reserve(&payer, nano("8"), NOON).expect("room");
    let round = book.renewal(&[], &[give(10)]).round;
    assert_eq!(
        book.settle(round, &granted(0, 7)),
        Err(SettleRefusal::BelowUse { pot: total() })
    );
    assert_eq!(book.settle(round, &granted(0, 8)), Ok(Settled::Now));
}

#[test]
fn a_forgotten_day_that_comes_again_brings_no_room_back() {
    let mut book = Book::new();
    let payer = payer("key:day");
    let today: Vec<Pot> = payer.pots(Windows::at(NOON)).collect();
    let [pot] = &today[..] else { panic!("one bound") };
    let ask = [Ask {
        pot: pot.clone(),
        need: nano("10"),
    }];
    let answer = |more, granted: u64| {
        [Grant {
            pot: pot.clone(),
            more: Nano::saturating(more),
            granted: Nano::saturating(granted),
            rest: Nano::ZERO,
        }]
    };
    let round = book.renewal(&ask, &[]).round;
    book.settle(round, &answer(10, 10)).expect("nothing is used");
    let id = book.reserve(&payer, nano("10"), NOON).expect("room");
    book.capture(id, nano("10")).expect("held");
    book.forget_past(NOON.saturating_add(DAY));
    // The clock of the machine is set back: 10 were granted in this day, and they are spent.
    assert!(book.reserve(&payer, nano("1"), NOON).is_err());
    let round = book.renewal(&ask, &[]).round;
    book.settle(round, &answer(2, 12)).expect("nothing is used");
    assert_eq!(book.free(pot), nano("2"));
}

#[test]
fn payers_that_nobody_knows_are_let_go() {
    let mut book = Book::new();
    for _ in 0..100 {
        let payer = payer("org:total");
        assert_eq!(book.affordable(&payer, NOON), Nano::ZERO);
        book.forget_past(NOON);
    }
    book.forget_past(NOON);
    assert_eq!(book.payers.len(), 0);
    assert_eq!(book.pots().count(), 1);
}

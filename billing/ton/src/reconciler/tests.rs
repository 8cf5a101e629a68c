use super::*;

fn nano(nano: u64) -> Nano {
    Nano::saturating(nano)
}

const HEAD: Head = Head { seqno: 1, time: 1000 };

fn payee(taken: u64) -> Ours {
    Ours {
        side: Side::Payee { taken: nano(taken) },
        max: nano(50),
        known: Known {
            deposited: nano(100),
            claimed: nano(10),
        },
        ended: false,
    }
}

fn payer(earned: u64) -> Ours {
    Ours {
        side: Side::Payer { earned: nano(earned) },
        ..payee(0)
    }
}

fn open(deposited: u64, claimed: u64) -> Seen {
    Seen::Open(OnChain {
        close_at: None,
        deposited: nano(deposited),
        claimed: nano(claimed),
    })
}

fn closing(claimed: u64) -> Seen {
    Seen::Open(OnChain {
        close_at: Some(2000),
        deposited: nano(100),
        claimed: nano(claimed),
    })
}

#[track_caller]
fn check(ours: &Ours, seen: Seen, balance: u128, expect: &[Alert]) {
    assert_eq!(reconcile(ours, &seen, balance, HEAD, 1000), expect);
}

#[test]
fn what_agrees_is_silent() {
    check(&payee(30), open(100, 10), 100, &[]);
    check(&payee(30), open(100, 30), 70, &[]);
    check(&payee(10), closing(10), 100, &[]);
    check(&payer(30), open(200, 30), 200, &[]);
    check(&payer(30), closing(30), 200, &[]);
    // Ended, and nothing is left to have.
    check(&payee(10), Seen::Absent, 0, &[]);
    let ended = Ours {
        ended: true,
        ..payee(30)
    };
    check(&ended, Seen::Absent, 0, &[]);
    check(&payer(30), Seen::Absent, 0, &[]);
}

#[test]
fn keys_in_other_hands_are_found() {
    let (claimed, taken) = (nano(31), nano(30));
    check(
        &payee(30),
        open(100, 31),
        100,
        &[Alert::ClaimedBeyondTaken { claimed, taken }],
    );
    let (claimed, max) = (nano(51), nano(50));
    check(
        &payer(30),
        open(100, 51),
        100,
        &[Alert::ClaimedBeyondVoucher { claimed, max }],
    );
}

#[test]
fn a_payee_that_takes_too_much_is_found() {
    let (claimed, earned) = (nano(31), nano(30));
    check(
        &payer(30),
        open(100, 31),
        100,
        &[Alert::ClaimedBeyondEarned { claimed, earned }],
    );
    check(
        &payer(30),
        open(100, 50),
        100,
        &[Alert::ClaimedBeyondEarned {
            claimed: nano(50),
            earned,
        }],
    );
}

#[test]
fn an_end_is_told_in_time_and_after() {
    let at_risk = nano(20);
    check(
        &payee(30),
        closing(10),
        100,
        &[Alert::Closing {
            close_at: 2000,
            at_risk,
        }],
    );
    check(&payee(30), Seen::Absent, 0, &[Alert::GoneUnclaimed { lost: nano(20) }]);
    // More than the deposit could never be had.
    check(&payee(500), Seen::Absent, 0, &[Alert::GoneUnclaimed { lost: nano(90) }]);
    let ended = Ours {
        ended: true,
        ..payee(30)
    };
    check(&ended, open(100, 0), 100, &[Alert::Redeployed]);
    check(&payee(30), Seen::Foreign, 0, &[Alert::Foreign]);
}

#[test]
fn a_chain_that_goes_back_is_found() {
    let deposited = Alert::DepositedLess {
        expected: nano(100),
        found: nano(90),
    };
    let claimed = Alert::ClaimedLess {
        expected: nano(10),
        found: nano(9),
    };
    check(&payee(30), open(90, 10), 100, &[deposited]);
    check(&payee(30), open(90, 9), 100, &[deposited, claimed]);
    let stale = reconcile(&payee(30), &open(100, 10), 100, HEAD, 1301);
    assert_eq!(stale, [Alert::Stale { age_s: 301 }]);
    // A clock of ours that is behind is no fault of the chain's.
    assert_eq!(reconcile(&payee(30), &open(100, 10), 100, HEAD, 0), []);
}

#[test]
fn rent_that_ate_the_deposit_is_told() {
    let short = Alert::Short {
        balance: nano(19),
        owed: nano(20),
    };
    check(&payee(30), open(100, 10), 19, &[short]);
    check(&payee(30), open(100, 10), 20, &[]);
    check(&payee(30), open(100, 10), u128::MAX, &[]);
    assert!(!short.stops());
}

#[test]
fn no_numbers_can_stop_it_and_each_alert_is_a_sentence() {
    let numbers = [0, 1, 10, 50, Nano::MOST.get()];
    let mut kinds = std::collections::HashSet::new();
    for known in numbers {
        for claimed in numbers {
            for taken in numbers {
                for ended in [false, true] {
                    for side in [Side::Payee { taken: nano(taken) }, Side::Payer { earned: nano(taken) }] {
                        let ours = Ours {
                            side,
                            max: nano(50),
                            known: Known {
                                deposited: nano(known),
                                claimed: nano(known.min(1)),
                            },
                            ended,
                        };
                        for seen in [Seen::Absent, Seen::Foreign, open(50, claimed), closing(claimed)] {
                            for alert in reconcile(&ours, &seen, claimed.into(), HEAD, 9999) {
                                let sentence = alert.to_string();
                                assert!(sentence.len() > 20, "{alert:?}");
                                kinds.insert(std::mem::discriminant(&alert));
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(kinds.len(), 11, "not every alert was met");
}

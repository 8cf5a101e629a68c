//! What needs no chain. With one: `billing/ton/sim/tests/lite.rs`.

use super::*;

/// As ton.org/global-config.json is written, shortened: with what is not read.
const LIST: &str = r#"{
  "@type": "config.global",
  "dht": {"@type": "dht.config.global", "k": 6},
  "liteservers": [
    {"ip": 84478511, "port": 19949, "id": {"@type": "pub.ed25519", "key": "n4VDnSCUuSpjnCyUk9e3QOOd6o0ItSWYbTnW3Wnn8wk="}},
    {"ip": -2018147130, "port": 53560, "id": {"@type": "pub.ed25519", "key": "NlYhh/xf4uQpE+7EzgorPHqIaqildznrpajJTRRH2HU="}}
  ],
  "validator": {"@type": "validator.config.global"}
}"#;

#[test]
fn the_official_list_is_read() {
    let servers = servers(LIST.as_bytes()).expect("a list");
    let at: Vec<_> = servers.iter().map(|server| server.at.to_string()).collect();
    assert_eq!(at, ["5.9.10.47:19949", "135.181.132.198:53560"]);
    assert!(servers.iter().all(|server| adnl::is_key(server.key)));
    let settings = Settings {
        network: Network::MAINNET,
        servers,
        agreeing: 2,
    };
    assert_eq!(
        format!("{:?}", LiteServers::new(settings).expect("two servers")),
        format!("LiteServers(2 of 2 for {})", Network::MAINNET)
    );
}

#[test]
fn what_is_no_list_is_named() {
    let check = |json: &str, expect: BadList| assert_eq!(servers(json.as_bytes()), Err(expect));
    check("{", BadList::Form { line: 1, column: 1 });
    check(r#"{"liteservers": []}"#, BadList::Empty);
    check(&LIST.replace("NlYh", "*"), BadList::Key(1));
    check(&LIST.replace("n4VD", ""), BadList::Key(0));
}

#[test]
fn refusals_of_messages_are_told_from_those_of_the_way() {
    let at = "127.0.0.1:1".parse().expect("an address");
    let sent = |code| {
        sending(AskError::Refused {
            at,
            code,
            reason: "why".to_owned(),
        })
    };
    assert!(matches!(sent(0), ChainError::Refused(reason) if reason.contains("why")));
    assert!(matches!(sent(651), ChainError::Unreachable(_)));
    assert!(matches!(sent(652), ChainError::Unreachable(_)));
    assert!(matches!(sent(228), ChainError::Limited));
    assert!(matches!(sending(AskError::Late(at)), ChainError::Unreachable(_)));
}

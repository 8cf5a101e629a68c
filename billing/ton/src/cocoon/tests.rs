//! Against what Cocoon's own wrappers write, and what its contracts made of it: see `golden/README.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use billing::{
    Nano,
    channel::{Account, Network},
};
use serde_json::Value;
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder},
};

use super::*;
use crate::{
    Seed, address,
    chain::{AccountState, Head, Status},
    golden::{hash, text},
};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../golden/cocoon.json")).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

fn bag(value: &Value) -> Cell {
    Boc::decode(STANDARD.decode(text(value)).expect("Base64")).expect("cells")
}

fn account(value: &Value) -> Account {
    address::parse(text(value), Network::MAINNET).expect("an address")
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    let digits = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    digits.parse().expect("a number")
}

fn nano(value: &Value) -> Nano {
    Nano::new(number(value)).expect("an amount")
}

fn key(golden: &Value) -> Seed {
    Seed::from_hex(text(&golden["seed"])).expect("a seed")
}

/// Everything in `params` but the cells of code.
fn check_params(params: &Params, expect: &Value) {
    let field = |name: &str| &expect[name];
    assert_eq!(params.form, number::<u8>(field("struct_version")));
    assert_eq!(params.version, number::<u32>(field("params_version")));
    assert_eq!(params.unique_id, number::<u32>(field("unique_id")));
    assert_eq!(Some(params.is_test), field("is_test").as_bool());
    assert_eq!(params.price, nano(field("price_per_token")));
    assert_eq!(params.worker_fee, nano(field("worker_fee_per_token")));
    let since = |form: u8, name: &str| {
        if params.form >= form {
            number::<u32>(field(name))
        } else {
            10_000
        }
    };
    let multipliers = Multipliers {
        prompt: since(3, "prompt_tokens_price_multiplier"),
        cached: since(2, "cached_tokens_price_multiplier"),
        completion: since(3, "completion_tokens_price_multiplier"),
        reasoning: since(2, "reasoning_tokens_price_multiplier"),
    };
    assert_eq!(params.multipliers, multipliers);
    assert_eq!(params.proxy_delay_s, number::<u32>(field("proxy_delay_before_close")));
    assert_eq!(params.client_delay_s, number::<u32>(field("client_delay_before_close")));
    assert_eq!(params.least_proxy_stake, nano(field("min_proxy_stake")));
    assert_eq!(params.least_client_stake, nano(field("min_client_stake")));
    let codes = [
        (&params.proxy_code, "proxy_sc_code"),
        (&params.worker_code, "worker_sc_code"),
        (&params.client_code, "client_sc_code"),
    ];
    for (code, name) in codes {
        let expect = field(name).as_str().map(|_| hash(field(name)));
        assert_eq!(code.as_ref().map(|code| code.repr_hash().0), expect, "{name}");
    }
}

#[test]
fn parameters_are_those_of_cocoons_own_writer() {
    let golden = golden();
    for entry in list(&golden, "params") {
        let written = bag(&entry["boc"]);
        let params = Params::decode(&written).expect("parameters");
        check_params(&params, &entry["value"]);
        assert_eq!(params.encode(Codes::All), written);
    }
    assert_eq!(list(&golden, "params").len(), 4);
}

#[test]
fn the_oldest_form_has_stakes_of_one_coin() {
    let newest = Params::decode(&bag(&golden()["params"][2]["boc"])).expect("parameters");
    let oldest = Params { form: 0, ..newest };
    let read = Params::decode(&oldest.encode(Codes::All)).expect("parameters");
    assert_eq!(read.least_client_stake, Nano::saturating(Nano::UNIT));
    assert_eq!(read.multipliers, Multipliers::ONE);
    assert_eq!(read.encode(Codes::All), oldest.encode(Codes::All));
}

#[test]
fn registries_are_those_of_cocoons_own_writer() {
    let golden = golden();
    for entry in list(&golden, "roots") {
        let written = bag(&entry["boc"]);
        let registry = Registry::decode(&written).expect("a registry");
        let expect = &entry["value"];
        assert_eq!(registry.owner, account(&expect["owner"]));
        assert_eq!(registry.version, number::<u32>(&expect["version"]));
        assert_eq!(registry.last_proxy, number::<u32>(&expect["last_proxy_seqno"]));
        for (found, name) in [
            (&registry.proxy_images, "proxy_images"),
            (&registry.worker_images, "worker_images"),
            (&registry.models, "models"),
        ] {
            let expect = list(expect, name).iter().map(hash).collect();
            assert_eq!(*found, expect, "{name}");
        }
        let proxies = expect["proxies"].as_object().expect("an object");
        assert_eq!(registry.proxies.len(), proxies.len());
        for (number, address) in proxies {
            let number: u32 = number.parse().expect("a number");
            assert_eq!(registry.proxies[&number], ProxyEntry::Text(text(address).to_owned()));
        }
        check_params(&registry.params, &entry["params"]);
        assert_eq!(registry.encode(), written);
    }
}

#[test]
fn a_proxy_has_one_address_or_two() {
    let check = |entry: &str, expect: Option<(&str, &str)>| {
        let parse = |text: &str| text.parse().expect("an address");
        let expect = expect.map(|(workers, clients)| (parse(workers), parse(clients)));
        assert_eq!(ProxyEntry::Text(entry.to_owned()).addresses(), expect, "{entry:?}");
    };
    check(
        "91.108.4.11:5222 91.108.4.11:8888",
        Some(("91.108.4.11:5222", "91.108.4.11:8888")),
    );
    check("10.0.0.1:1000", Some(("10.0.0.1:1000", "10.0.0.1:1000")));
    check("10.0.0.1", None);
    check("", None);
    check("10.0.0.1:1000 proxy.example:80", None);
    check("10.0.0.1:99999", None);
}

#[test]
fn an_entry_of_another_kind_is_kept_as_it_is() {
    let mut registry = Registry::decode(&bag(&golden()["roots"][1]["boc"])).expect("a registry");
    let mut other = CellBuilder::new();
    other.store_u8(0b1000_0001).expect("room");
    let other = ProxyEntry::Other(other.build().expect("a cell"));
    assert_eq!(other.addresses(), None);
    registry.proxies.insert(8, other);
    assert_eq!(Registry::decode(&registry.encode()), Ok(registry));
}

#[test]
fn contracts_are_where_cocoon_says() {
    let golden = golden();
    let children = &golden["children"];
    let params = Params::decode(&bag(&children["params"])).expect("parameters");
    let key = key(&golden).public_key();
    assert_eq!(key, hash(&golden["public_key"]));
    let root = account(&children["root"]);
    let proxy = ProxyData::account(&params, root, account(&children["proxy_owner"]), key);
    assert_eq!(proxy, Some(account(&children["proxy"])));
    let proxy = account(&children["proxy"]);
    let client = ClientData::account(&params, proxy, key, account(&children["client_owner"]));
    assert_eq!(client, Some(account(&children["client"])));
    let worker = WorkerData::account(&params, proxy, key, account(&children["worker_owner"]));
    assert_eq!(worker, Some(account(&children["worker"])));
    let without = Params {
        client_code: None,
        ..params
    };
    assert_eq!(ClientData::account(&without, proxy, key, root), None);
}

#[test]
fn what_is_signed_is_what_cocoons_contracts_execute() {
    let golden = golden();
    let ours = key(&golden);
    for entry in list(&golden, "executed") {
        let name = text(&entry["name"]);
        let written = bag(&entry["message"]);
        let signed = Signed::decode(&written).expect(name);
        let tokens = entry["tokens"].as_str().map(|digits| digits.parse().expect("a number"));
        assert_eq!(signed.payload.statement.tokens(), tokens, "{name}");
        assert_eq!(signed.payload.query_id, number::<u64>(&entry["query_id"]), "{name}");
        assert_eq!(signed.excesses_to, account(&entry["excesses_to"]), "{name}");
        let again = signed.payload.sign(&ours, signed.excesses_to);
        assert_eq!(again.encode(), written, "{name}");

        // Whether the contract took it, by what we know before: its own data, its address, the key in it.
        let (before, after) = (bag(&entry["before"]), bag(&entry["after"]));
        let (key, done) = counted(name, &before);
        let is_ours = signed.payload.contract == account(&entry["to"]);
        let is_new = match signed.payload.statement {
            Statement::Charge { tokens } | Statement::Payout { tokens } => tokens > done,
            Statement::GrantRefund { tokens } | Statement::LastPayout { tokens } => tokens >= done,
            Statement::Close | Statement::CloseComplete => true,
        };
        let genuine = signed.check(&key);
        let would_take = genuine.is_some() && is_ours && is_new;
        assert_eq!(entry["exit_code"] == 0, would_take, "{name}");
        let (_, done_after) = counted(name, &after);
        let expect = if would_take { tokens.unwrap_or(0) } else { done };
        assert_eq!(done_after, expect, "{name}");
    }
    assert_eq!(list(&golden, "executed").len(), 9);
}

/// The proxy's key in a contract's data, and the tokens that it has seen.
fn counted(name: &str, data: &Cell) -> ([u8; 32], u64) {
    if name.contains("close") {
        let proxy = ProxyData::decode(data).expect(name);
        (proxy.key, 0)
    } else if name.contains("payout") {
        let worker = WorkerData::decode(data).expect(name);
        (worker.key, worker.tokens)
    } else {
        let client = ClientData::decode(data).expect(name);
        (client.key, client.tokens)
    }
}

#[test]
fn phases_are_read_as_the_contracts_write_them() {
    let golden = golden();
    let after = |name: &str| {
        let found = list(&golden, "executed").iter().find(|entry| entry["name"] == name);
        bag(&found.expect(name)["after"])
    };
    let phase = |data: &Cell| ProxyData::decode(data).map(|proxy| proxy.phase);
    assert_eq!(phase(&after("close")), Ok(Phase::Closing));
    assert_eq!(phase(&after("close completed")), Ok(Phase::Closed));
    let refunded = ClientData::decode(&after("refund")).expect("a client");
    assert_eq!((refunded.phase, refunded.balance), (Phase::Closed, Nano::ZERO));
    let paid = WorkerData::decode(&after("last payout")).expect("a worker");
    assert_eq!(paid.phase, Phase::Closed);
}

#[test]
fn a_statement_that_is_not_genuine_is_refused() {
    let golden = golden();
    let ours = key(&golden);
    let signed = Signed::decode(&bag(&golden["executed"][0]["message"])).expect("a charge");
    let genuine = signed.check(&ours.public_key()).expect("a good signature");
    assert_eq!(*genuine.payload(), signed.payload);
    assert_eq!(*genuine.proxy(), ours.public_key());
    let mut more = signed;
    more.payload.statement = Statement::Charge { tokens: 1_000_001 };
    assert_eq!(more.check(&ours.public_key()), None);
    let mut elsewhere = signed;
    elsewhere.payload.contract.hash[0] ^= 1;
    assert_eq!(elsewhere.check(&ours.public_key()), None);
    // Who gets the change is anybody's to say.
    let mut change = signed;
    change.excesses_to.hash[0] ^= 1;
    assert!(change.check(&ours.public_key()).is_some());
}

#[test]
fn what_is_no_statement_is_named() {
    let golden = golden();
    let good = bag(&golden["executed"][0]["message"]);
    let signed = Signed::decode(&good).expect("a charge");
    let check = |head: (u32, u64), payload: Cell, expect: NotCocoon| {
        let mut body = CellBuilder::new();
        let mut rest = good.as_slice().expect("a cell");
        rest.skip_first(96, 0).expect("a head");
        let (bits, mut raw) = (rest.size_bits(), [0; 128]);
        rest.load_raw(&mut raw, bits).expect("bits");
        body.store_u32(head.0).expect("room");
        body.store_u64(head.1).expect("room");
        body.store_raw(&raw, bits).expect("room");
        body.store_reference(payload).expect("room");
        assert_eq!(Signed::decode(&body.build().expect("a cell")), Err(expect));
    };
    let payload = signed.payload.encode();
    let head = (signed.payload.statement.operation(), signed.payload.query_id);
    check(
        (head.0, 6),
        payload.clone(),
        NotCocoon::Envelope {
            outer: head.0,
            outer_id: 6,
        },
    );
    check(
        (0xefd7_11e1, head.1),
        payload,
        NotCocoon::Envelope {
            outer: 0xefd7_11e1,
            outer_id: head.1,
        },
    );
    let mut unknown = CellBuilder::new();
    unknown.store_u32(0x5643_4831).expect("room");
    unknown.store_u64(1).expect("room");
    check(
        head,
        unknown.build().expect("a cell"),
        NotCocoon::Operation(0x5643_4831),
    );
    check(head, Cell::default(), NotCocoon::Cells(Malformed::Short));
    assert_eq!(
        Signed::decode(&Cell::default()),
        Err(NotCocoon::Cells(Malformed::Short))
    );
    assert_eq!(
        Signed::decode_boc(b"no cells"),
        Err(NotCocoon::Cells(Malformed::NoCells))
    );
}

#[test]
fn data_that_was_cut_or_lengthened_anywhere_is_refused() {
    let golden = golden();
    let root = bag(&golden["roots"][1]["boc"]);
    let params = bag(&golden["params"][2]["boc"]);
    let newer = {
        let mut cell = CellBuilder::new();
        let mut from = params.as_slice().expect("a cell");
        from.skip_first(8, 0).expect("a form");
        cell.store_u8(4).expect("room");
        cell.store_slice(from).expect("room");
        cell.build().expect("a cell")
    };
    assert_eq!(Params::decode(&newer), Err(NotCocoon::Form(4)));
    let longer = |cell: &Cell| {
        let mut builder = CellBuilder::new();
        builder.store_slice(cell.as_slice().expect("a cell")).expect("room");
        builder.store_bit_one().expect("room");
        builder.build().expect("a cell")
    };
    let long = NotCocoon::Cells(Malformed::Long);
    assert_eq!(Params::decode(&longer(&params)), Err(long));
    assert_eq!(Registry::decode(&longer(&root)), Err(long));
    assert_eq!(
        Registry::decode(&Cell::default()),
        Err(NotCocoon::Cells(Malformed::NotAnAccount {
            field: "the registry's owner"
        }))
    );
    // Any prefix of any cell is an error, and none a panic.
    for bits in 0..root.bit_len() {
        let mut cut = root.as_slice().expect("a cell");
        cut.only_first(bits, 2).expect("a prefix");
        let mut builder = CellBuilder::new();
        builder.store_slice(cut).expect("room");
        assert!(
            Registry::decode(&builder.build().expect("a cell")).is_err(),
            "{bits} bits"
        );
    }
}

#[test]
fn an_account_without_a_registry_is_named() {
    let golden = golden();
    let state = |status| AccountState {
        head: Head { seqno: 1, time: 1 },
        balance: 1,
        last: None,
        status,
    };
    let refusal = |status, wanted| {
        Registry::of(&state(status), wanted)
            .err()
            .map(|error| error.to_string())
            .expect("a refusal")
    };
    assert!(refusal(Status::Nonexistent, None).contains("no account"));
    assert!(refusal(Status::Uninitialised, None).contains("yet"));
    assert!(refusal(Status::Frozen, None).contains("rent"));
    let active = |code: &Cell, data: &Cell| Status::Active {
        code: Boc::encode(code),
        data: Boc::encode(data),
    };
    let root = bag(&golden["roots"][1]["boc"]);
    let code = bag(&golden["params"][0]["boc"]);
    let found = code.repr_hash().0;
    assert!(Registry::of(&state(active(&code, &root)), Some(found)).is_ok());
    assert!(refusal(active(&code, &root), Some([1; 32])).contains("was wanted"));
    assert!(refusal(active(&code, &code), None).contains("keeps no registry"));
    let broken = Status::Active {
        code: vec![1],
        data: Boc::encode(&root),
    };
    assert!(refusal(broken, Some(found)).contains("no bag of cells"));
}

use billing::Nano;
use num_bigint::BigInt;
use tycho_types::boc::Boc;
use tycho_types::cell::{CellBuilder, CellFamily};

use super::*;
use crate::forwarder::{ask_to_send, forwarder};
use crate::machine::Value;
use crate::simulated::{Blocks, Settings};

/// A chain where forwarder 1 is deployed and has sent 1,000 to forwarder 2.
fn scene() -> Simulated {
    let chain = Simulated::in_memory(Settings {
        blocks: Blocks::OnDemand,
        ..Settings::for_tests(1)
    })
    .expect("embedded");
    chain
        .fund(forwarder(1).0, Nano::new(10_000_000_000).expect("small"))
        .expect("made");
    let message = ask_to_send(1, &forwarder(2).0, 1_000, true);
    methods::now(billing_ton::Chain::send(&chain, &message)).expect("made");
    chain
}

fn address(n: u32) -> String {
    form::friendly(&forwarder(n).0)
}

/// One call, on a front of its own.
fn route(method: &Method, path: &str, query: Option<&str>, body: &[u8], chain: &Simulated) -> Response<Full<Bytes>> {
    super::route(method, path, query, body, &Front::new(chain.clone()))
}

fn body(response: Response<Full<Bytes>>) -> (u16, Json) {
    let status = response.status().as_u16();
    let body = futures_util::FutureExt::now_or_never(response.into_body().collect())
        .expect("whole")
        .expect("infallible")
        .to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn rpc(chain: &Simulated, method: &str, params: Json) -> (u16, Json) {
    let call = json!({ "id": "1", "jsonrpc": "2.0", "method": method, "params": params });
    let (status, told) = body(route(
        &Method::POST,
        "/api/v2/jsonRPC",
        None,
        call.to_string().as_bytes(),
        chain,
    ));
    assert_eq!(told["id"], "1");
    assert_eq!(told["jsonrpc"], "2.0");
    (status, told)
}

/// The result of a call that succeeds.
fn result(chain: &Simulated, method: &str, params: Json) -> Json {
    let (status, told) = rpc(chain, method, params);
    assert_eq!((status, &told["ok"]), (200, &json!(true)), "{method}: {told}");
    told["result"].clone()
}

/// Status and error of one that fails.
fn failure(chain: &Simulated, method: &str, params: Json) -> (u16, String) {
    let (status, told) = rpc(chain, method, params);
    assert_eq!(told["ok"], json!(false), "{method}: {told}");
    assert_eq!(told["code"], json!(status));
    assert!(told.get("result").is_none());
    (status, told["error"].as_str().expect("a sentence").to_owned())
}

#[test]
fn an_account_is_told_in_every_way() {
    let chain = scene();
    let information = result(&chain, "getAddressInformation", json!({ "address": address(1) }));
    assert_eq!(information["@type"], "raw.fullAccountState");
    assert_eq!(information["state"], "active");
    assert_eq!(information["block_id"]["@type"], "ton.blockIdExt");
    for field in ["code", "data"] {
        let bytes = parameters::base64_bytes(information[field].as_str().expect("base64")).expect("base64");
        assert!(Boc::decode(bytes).is_ok(), "{field}");
    }
    let balance = result(&chain, "getAddressBalance", json!({ "address": address(1) }));
    assert_eq!(balance, information["balance"]);
    // The same by any form of the address.
    let raw = form::raw(&forwarder(1).0);
    assert_eq!(result(&chain, "getAddressBalance", json!({ "address": raw })), balance);
    assert_eq!(
        result(&chain, "packAddress", json!({ "address": raw })),
        json!(address(1))
    );
    assert_eq!(
        result(&chain, "unpackAddress", json!({ "address": address(1) })),
        json!(raw)
    );
    assert_eq!(
        result(&chain, "detectAddress", json!({ "address": raw }))["bounceable"]["b64url"],
        json!(address(1))
    );
    let extended = result(
        &chain,
        "getExtendedAddressInformation",
        json!({ "address": address(1) }),
    );
    assert_eq!(extended["account_state"]["code"], information["code"]);
    assert_eq!(extended["last_transaction_id"], information["last_transaction_id"]);
    let wallet = result(&chain, "getWalletInformation", json!({ "address": address(1) }));
    assert_eq!(wallet["wallet"], json!(false));
    assert_eq!(wallet["account_state"], "active");

    assert_eq!(
        result(&chain, "getAddressState", json!({ "address": address(2) })),
        "uninitialized"
    );
    let nobody = result(&chain, "getAddressInformation", json!({ "address": address(3) }));
    assert_eq!(nobody["state"], "uninitialized");
    assert_eq!(nobody["balance"], "0");
    assert_eq!(nobody["code"], "");
    assert_eq!(nobody["last_transaction_id"]["lt"], "0");
}

#[test]
fn a_history_is_paged_backwards() {
    let chain = scene();
    for amount in 0..3 {
        let boc = form::base64(ask_to_send(1, &forwarder(2).0, amount, false));
        assert_eq!(result(&chain, "sendBoc", json!({ "boc": boc }))["@type"], "ok");
    }
    let told = |params: Json| {
        let mut all = json!({ "address": address(1) });
        all.as_object_mut()
            .expect("an object")
            .extend(params.as_object().expect("an object").clone());
        result(&chain, "getTransactions", all)
            .as_array()
            .expect("a list")
            .clone()
    };
    let all = told(json!({ "limit": 100 }));
    assert_eq!(all.len(), 5);
    let lt = |transaction: &Json| transaction["transaction_id"]["lt"].as_str().expect("text").to_owned();
    assert!(
        all.windows(2)
            .all(|two| lt(&two[0]).parse::<u64>().ok() > lt(&two[1]).parse().ok())
    );
    // From a transaction on, that one included, as many as were asked for.
    let from = json!({ "lt": lt(&all[1]), "hash": all[1]["transaction_id"]["hash"], "limit": "2" });
    assert_eq!(told(from), all[1..3]);
    // Down to one that is not told.
    assert_eq!(told(json!({ "limit": 100, "to_lt": lt(&all[2]) })), all[..2]);
    // Hexadecimal is what the official client sends.
    let hash = parameters::base64_bytes(all[1]["transaction_id"]["hash"].as_str().expect("text")).expect("base64");
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told(json!({ "lt": lt(&all[1]), "hash": hex, "limit": 1 })), all[1..2]);

    let sent = &all[0]["out_msgs"][0];
    assert_eq!(all[0]["in_msg"]["source"], "");
    assert_eq!(
        (&sent["source"], &sent["destination"]),
        (&json!(address(1)), &json!(address(2)))
    );
    let coins = &all[4]["in_msg"];
    assert_eq!(coins["value"], "10000000000");
    let link = json!({ "source": address(1), "destination": address(2), "created_lt": sent["created_lt"] });
    assert_eq!(result(&chain, "tryLocateSourceTx", link.clone()), all[0]);
    let received = result(&chain, "tryLocateResultTx", link);
    assert_eq!(received["in_msg"]["hash"], sent["hash"]);

    for (params, status) in [
        (json!({ "address": address(1), "limit": 0 }), 422),
        (json!({ "address": address(1), "limit": 101 }), 422),
        (json!({ "address": address(1), "lt": "5" }), 422),
        (json!({ "address": address(1), "lt": "5", "hash": hex }), 500),
        (json!({ "address": address(1), "lt": "5", "hash": "short" }), 422),
    ] {
        assert_eq!(failure(&chain, "getTransactions", params).0, status);
    }
}

#[test]
fn a_comment_is_told_as_text() {
    let mut body = CellBuilder::new();
    body.store_u32(0).expect("fits");
    body.store_raw("für Äpfel".as_bytes(), 88).expect("fits");
    let message = tycho_types::models::OwnedMessage {
        info: tycho_types::models::MsgInfo::Int(Default::default()),
        init: None,
        body: body.build().expect("fits").into(),
        layout: None,
    };
    let told = messages::told(&CellBuilder::build_from(message).expect("fits")).expect("readable");
    assert_eq!(told["message"], "für Äpfel");
    assert_eq!(told["msg_data"]["@type"], "msg.dataText");
    assert!(messages::told(&tycho_types::cell::Cell::empty_cell()).is_none());
}

#[test]
fn a_message_that_nobody_pays_for_is_an_error() {
    let chain = scene();
    let boc = form::base64(ask_to_send(2, &forwarder(1).0, 1, false));
    let (status, error) = failure(&chain, "sendBoc", json!({ "boc": boc }));
    assert_eq!(status, 500);
    assert!(
        error.contains("cannot apply external message to current state"),
        "{error}"
    );
    assert_eq!(failure(&chain, "sendBoc", json!({ "boc": "%%%" })).0, 422);
    assert_eq!(
        failure(&chain, "sendBoc", json!({ "boc": form::base64("no cells") })).0,
        500
    );
    assert_eq!(failure(&chain, "sendBoc", json!({})).0, 422);
    assert_eq!(failure(&chain, "sendBoc", json!({ "boc": 5 })).0, 422);

    let message = ask_to_send(1, &forwarder(2).0, 5, false);
    let hash = Boc::decode(&message).expect("ours").repr_hash().0;
    let told = result(&chain, "sendBocReturnHash", json!({ "boc": form::base64(&message) }));
    assert_eq!(told["hash"], form::base64(hash));
}

#[test]
fn a_get_method_is_run() {
    let chain = scene();
    let told = result(
        &chain,
        "runGetMethod",
        json!({ "address": address(1), "method": "number", "stack": [] }),
    );
    assert_eq!(told["exit_code"], 0);
    assert_eq!(told["stack"], json!([["num", "0x1"]]));
    assert!(told["gas_used"].as_u64() > Some(0));
    // By number too, and with arguments, which this method leaves under its answer.
    let told = result(
        &chain,
        "runGetMethod",
        json!({ "address": address(1), "method": 70_000, "stack": [["num", "-0x1f"], ["num", 7]] }),
    );
    assert_eq!(told["stack"], json!([["num", "-0x1f"], ["num", "0x7"], ["num", "0x1"]]));
    let told = result(
        &chain,
        "runGetMethod",
        json!({ "address": address(3), "method": "number", "stack": [] }),
    );
    assert_eq!((&told["exit_code"], &told["stack"]), (&json!(-13), &json!([])));
    for stack in [
        json!([["num", "x"]]),
        json!([["soup", 1]]),
        json!({}),
        json!([["num", format!("0x1{}", "0".repeat(64))]]),
    ] {
        let params = json!({ "address": address(1), "method": "number", "stack": stack });
        assert_eq!(failure(&chain, "runGetMethod", params).0, 422);
    }
}

#[test]
fn values_have_both_of_their_forms() {
    let cell = CellBuilder::build_from(5_u32).expect("fits");
    let bytes = form::base64(Boc::encode(&cell));
    let told = stack::write(&[
        Value::Null,
        Value::Int(BigInt::from(-26)),
        Value::Cell(cell.clone()),
        Value::Tuple(vec![Value::Int(BigInt::from(26)), Value::Null, Value::Slice(cell)]),
    ]);
    assert_eq!(
        told,
        json!([
            ["list", { "@type": "tvm.list", "elements": [] }],
            ["num", "-0x1a"],
            ["cell", { "@type": "tvm.cell", "bytes": bytes }],
            ["tuple", { "@type": "tvm.tuple", "elements": [
                { "@type": "tvm.stackEntryNumber", "number": { "@type": "tvm.numberDecimal", "number": "26" } },
                { "@type": "tvm.stackEntryList", "list": { "@type": "tvm.list", "elements": [] } },
                { "@type": "tvm.stackEntrySlice", "slice": { "@type": "tvm.slice", "bytes": bytes } },
            ] }],
        ])
    );
}

#[test]
fn blocks_are_found_by_number_lt_and_time() {
    let chain = scene();
    let info = result(&chain, "getMasterchainInfo", json!({}));
    let last = &info["last"];
    assert_eq!(last["workchain"], -1);
    assert_eq!(last["shard"], "-9223372036854775808");
    let seqno = last["seqno"].clone();
    assert_eq!(result(&chain, "getConsensusBlock", json!({}))["consensus_block"], seqno);
    let look = |params| result(&chain, "lookupBlock", params);
    let shard = "-9223372036854775808";
    assert_eq!(&look(json!({ "workchain": -1, "shard": shard, "seqno": seqno })), last);
    let header = result(
        &chain,
        "getBlockHeader",
        json!({ "workchain": 0, "shard": shard, "seqno": seqno }),
    );
    let by_lt = look(json!({ "workchain": 0, "shard": shard, "lt": header["end_lt"] }));
    assert_eq!(by_lt, header["id"]);
    assert_eq!(
        look(json!({ "workchain": 0, "shard": shard, "unixtime": header["gen_utime"] })),
        header["id"]
    );
    assert_eq!(
        result(&chain, "shards", json!({ "seqno": seqno }))["shards"],
        json!([header["id"]])
    );
    let inside = result(
        &chain,
        "getBlockTransactions",
        json!({ "workchain": 0, "shard": shard, "seqno": seqno }),
    );
    assert_eq!(inside["transactions"].as_array().map(Vec::len), Some(2));
    assert_eq!(inside["incomplete"], json!(false));
    let part = json!({ "workchain": 0, "shard": shard, "seqno": seqno, "count": 1 });
    assert_eq!(result(&chain, "getBlockTransactions", part)["incomplete"], json!(true));

    for (params, status) in [
        (json!({ "workchain": 0, "shard": shard, "seqno": 4_000 }), 500),
        (json!({ "workchain": 7, "shard": shard, "seqno": 1 }), 500),
        (json!({ "workchain": 0, "shard": "1", "seqno": 1 }), 500),
        (json!({ "workchain": 0, "shard": shard }), 422),
    ] {
        assert_eq!(failure(&chain, "lookupBlock", params).0, status);
    }
}

#[test]
fn configuration_and_fees_are_told() {
    let chain = scene();
    let told = result(&chain, "getConfigParam", json!({ "config_id": 21 }));
    let bytes = parameters::base64_bytes(told["config"]["bytes"].as_str().expect("text")).expect("base64");
    let prices = Boc::decode(bytes).expect("cells");
    assert!(prices.parse::<tycho_types::models::GasLimitsPrices>().is_ok());
    assert_eq!(result(&chain, "getConfigAll", json!({}))["@type"], "configInfo");
    assert_eq!(
        result(&chain, "getConfigParam", json!({ "config_id": 9_999 }))["config"]["bytes"],
        ""
    );

    // The body that asks a forwarder to send, and what that costs.
    let message = Boc::decode(ask_to_send(1, &forwarder(2).0, 5, false)).expect("ours");
    let parsed = message.parse::<tycho_types::models::Message<'_>>().expect("ours");
    let body = form::base64(Boc::encode(CellBuilder::build_from(parsed.body).expect("fits")));
    let told = result(
        &chain,
        "estimateFee",
        json!({ "address": address(1), "body": body, "init_code": "", "init_data": "" }),
    );
    let fees = &told["source_fees"];
    let estimated: u64 = ["in_fwd_fee", "storage_fee", "gas_fee", "fwd_fee"]
        .iter()
        .map(|part| fees[part].as_u64().expect("a number"))
        .sum();
    let balance = || {
        let told = result(&chain, "getAddressBalance", json!({ "address": address(1) }));
        told.as_str().expect("text").parse::<u64>().expect("a number")
    };
    let before = balance();
    result(&chain, "sendBoc", json!({ "boc": form::base64(Boc::encode(&message)) }));
    assert_eq!(before - balance(), estimated + 5, "{fees}");
    assert_eq!(
        failure(&chain, "estimateFee", json!({ "address": address(3), "body": body })).0,
        500
    );
}

#[test]
fn calls_come_by_address_too() {
    let chain = scene();
    let get = |path: &str, query: &str| body(route(&Method::GET, path, Some(query), b"", &chain));
    let (status, told) = get("/api/v2/getAddressState", &format!("address={}", address(1)));
    assert_eq!((status, told), (200, json!({ "ok": true, "result": "active" })));
    // A raw address with its colon encoded.
    let raw = form::raw(&forwarder(1).0).replace(':', "%3A");
    assert_eq!(get("/api/v2/getAddressState", &format!("address={raw}")).0, 200);
    let post = json!({ "address": address(1) }).to_string();
    let (_, told) = body(route(
        &Method::POST,
        "/api/v2/getAddressState",
        None,
        post.as_bytes(),
        &chain,
    ));
    assert_eq!(told["result"], "active");

    assert_eq!(get("/api/v2/getAddressState", "address=EQnonsense").0, 416);
    assert_eq!(get("/api/v2/getAddressState", "address=%zz").0, 422);
    assert_eq!(get("/api/v2/getAddressState", "").0, 422);
    assert_eq!(get("/api/v2/noSuchMethod", "").0, 422);
    assert_eq!(get("/elsewhere", "").0, 404);
    assert_eq!(
        body(route(&Method::DELETE, "/api/v2/getAddressState", None, b"", &chain)).0,
        422
    );
    assert_eq!(
        body(route(&Method::POST, "/api/v2/jsonRPC", None, b"[]", &chain)).0,
        422
    );
    let odd = json!({ "id": 5, "method": "getMasterchainInfo", "params": [] }).to_string();
    let (status, told) = body(route(&Method::POST, "/api/v2/jsonRPC", None, odd.as_bytes(), &chain));
    assert_eq!((status, &told["id"]), (422, &json!(5)));
    assert_eq!(
        failure(&chain, "noSuchMethod", json!({})),
        (422, "Unknown method".to_owned())
    );
}

#[test]
fn the_faucet_gives_and_time_moves() {
    let chain = scene();
    let get = |path: &str, query: &str| body(route(&Method::GET, path, Some(query), b"", &chain));
    let (status, told) = get("/danger_faucet", &format!("address={}&amount=123", address(3)));
    assert_eq!((status, &told["ok"]), (200, &json!(true)));
    assert_eq!(
        result(&chain, "getAddressBalance", json!({ "address": address(3) })),
        "123"
    );
    assert_eq!(
        get("/danger_faucet", &format!("address={}&amount=-1", address(3))).0,
        422
    );
    assert_eq!(
        get("/danger_faucet", &format!("address={}&amount={}", address(3), u64::MAX)).0,
        422
    );
    // Not among toncenter's methods.
    assert_eq!(
        get("/api/v2/danger_faucet", &format!("address={}&amount=1", address(3))).0,
        422
    );
    let before = chain.now();
    assert_eq!(get("/danger_advance", "seconds=3600").0, 200);
    assert_eq!(chain.now(), before + 3_600);
    assert_eq!(
        result(&chain, "getConsensusBlock", json!({}))["timestamp"],
        json!(before + 3_600)
    );
}

#[test]
fn the_front_fails_when_it_is_told_to() {
    let front = Front::new(scene());
    let get = |path: &str, query: &str| body(super::route(&Method::GET, path, Some(query), b"", &front));
    let head = || get("/api/v2/getMasterchainInfo", "").0;
    for (status, calls) in [(429, 2), (503, 1)] {
        assert_eq!(get("/danger_fail", &format!("calls={calls}&status={status}")).0, 200);
        for _ in 0..calls {
            assert_eq!(head(), status);
        }
        assert_eq!(head(), 200);
    }
    assert_eq!(get("/danger_fail", "calls=1&status=404").0, 422);
    assert_eq!(get("/danger_fail", "status=429").0, 422);
    assert_eq!(get("/danger_anything", "").0, 404);
    assert_eq!(get("/danger_halt", "").0, 200);
    assert_eq!(
        get("/danger_faucet", &format!("address={}&amount=5", address(7))).0,
        200
    );
    let balance = || get("/api/v2/getAddressBalance", &format!("address={}", address(7))).1["result"].clone();
    assert_eq!(balance(), "0");
    assert_eq!(get("/danger_resume", "").0, 200);
    assert_eq!(balance(), "5");
}

#[test]
fn a_deleted_account_has_no_last_transaction() {
    let chain = scene();
    let one = Nano::new(1).expect("small");
    chain.fund(forwarder(5).0, one).expect("made");
    let before = result(&chain, "getTransactions", json!({ "address": address(5) }));
    // A year's rent is more than it has, and it has no code to be kept for.
    chain.advance(365 * 86_400).expect("made");
    chain.fund(forwarder(5).0, one).expect("made");
    let information = result(&chain, "getAddressInformation", json!({ "address": address(5) }));
    assert_eq!(
        (&information["balance"], &information["last_transaction_id"]["lt"]),
        (&json!("0"), &json!("0"))
    );
    assert_eq!(
        result(&chain, "getTransactions", json!({ "address": address(5) })),
        json!([])
    );
    // Who remembers a transaction finds it, and what was before.
    let known = &before[0]["transaction_id"];
    let params = json!({ "address": address(5), "lt": known["lt"], "hash": known["hash"] });
    assert_eq!(result(&chain, "getTransactions", params), before);
}

#[tokio::test]
async fn a_socket_answers_until_it_is_shut_down() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let at = listener.local_addr().expect("bound");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, scene(), async move {
        stopped.await.unwrap_or_default();
    }));
    let ask = |request: &'static str| async move {
        let mut stream = TcpStream::connect(at).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let answer = ask("GET /api/v2/getMasterchainInfo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert!(answer.contains("blocks.masterchainInfo"), "{answer}");
    let answer = ask("OPTIONS /api/v2/jsonRPC HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let answer =
        ask("POST /api/v2/jsonRPC HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 900000\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    // An idle connection does not keep it from ending.
    let idle = TcpStream::connect(at).await.expect("connected");
    stop.send(()).expect("it runs");
    served.await.expect("ended");
    drop(idle);
}

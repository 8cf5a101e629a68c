//! Things that are wrong though every signature is right, and signatures that are a stranger's.

use attestation_soft_tdx::{
    Builder, SoftTdx,
    recipe::{Forged, Form, Omitted, Revoked, Window},
};
use serde_json::{Value, json};

use crate::{
    matrix::Matrix,
    world::{NOW, World, evidence},
};

#[test]
fn a_platform_with_one_thing_broken() {
    let world = World::new();
    let mut matrix = Matrix::default();
    let mut add = |name: &str, builder: Builder| matrix.add(name, world.meets(&builder.build()));
    let tdx = SoftTdx::builder;

    add("nothing", tdx());
    add("a processor authority", tdx().processor_authority());
    add("another revoked", tdx().revoked(Revoked::Stranger));

    add("another image", tdx().image("other"));
    add("debug", tdx().debug());
    add("perfmon", tdx().perfmon());
    add("migratable", tdx().migratable());
    add("without SEPT_VE_DISABLE", tdx().without_sept_ve_disable());
    add("xfam", tdx().xfam([0xe7, 0, 0, 0, 0, 0, 0, 0]));
    add("service TD", tdx().service_td());
    let extended = || tdx().form(Form::V5Td15Ex);
    add(
        "extended service TD at start",
        extended().edit(|it| it.td.extended.init_service_td_hash[0] = 1),
    );
    add(
        "extended service TD now",
        extended().edit(|it| it.td.extended.cur_service_td_hash[47] = 1),
    );
    add(
        "extended service TD's attributes at start",
        extended().edit(|it| it.td.extended.init_service_td_attributes[0] = 1),
    );
    add(
        "extended service TD's attributes now",
        extended().edit(|it| it.td.extended.cur_service_td_attributes[7] = 1),
    );
    add("mr_config_id", tdx().edit(|it| it.td.mr_config_id[0] = 1));
    add("mr_owner", tdx().edit(|it| it.td.mr_owner[0] = 1));
    add("mr_owner_config", tdx().edit(|it| it.td.mr_owner_config[0] = 1));
    add("rtmr3", tdx().edit(|it| it.td.rtmr[3][0] = 1));

    add("module svn 3", tdx().module_svn(3));
    add("module svn 1", tdx().module_svn(1));
    add("module of another major", tdx().edit(|it| it.td.tee_tcb_svn[1] = 2));
    add("module of no major", tdx().edit(|it| it.td.tee_tcb_svn[1] = 0));
    add("module's late microcode", tdx().edit(|it| it.td.tee_tcb_svn[2] = 1));
    add(
        "module svn 1 now",
        tdx().form(Form::V5Td15).edit(|it| it.td.tee_tcb_svn2[0] = 1),
    );
    add("module signer", tdx().other_module_signer());
    add("module attributes", tdx().edit(|it| it.td.seam_attributes[0] = 1));

    add("another root", tdx().other_root());
    add("old microcode", tdx().old_cpu_svn());
    add(
        "microcode below all levels",
        tdx().edit(|it| it.platform.cpu_svn[0] = 0),
    );
    add("PCE below all levels", tdx().edit(|it| it.platform.pce_svn = 1));
    add(
        "FMSPC of other TCB info",
        tdx().edit(|it| it.tcb_info.fmspc = Some(*b"other\0")),
    );
    add("old enclave", tdx().old_enclave());
    add("enclave below all levels", tdx().edit(|it| it.enclave.isv_svn = 1));
    add("debug enclave", tdx().debug_enclave());
    add("enclave of another signer", tdx().other_enclave_signer());
    add(
        "another enclave of the signer",
        tdx().edit(|it| it.enclave.isv_prod_id = 1),
    );
    add("enclave's misc_select", tdx().edit(|it| it.enclave.misc_select = 1));
    add("enclave's attributes", tdx().edit(|it| it.enclave.attributes[0] |= 8));
    add(
        "authentication data of 31 bytes",
        tdx().edit(|it| it.auth_data.truncate(31)),
    );
    add("version 6", tdx().edit(|it| it.header.version = Some(6)));
    add("version 5 of version 4", tdx().edit(|it| it.header.version = Some(5)));
    add("key type 3", tdx().edit(|it| it.header.key_type = 3));
    add("SGX", tdx().edit(|it| it.header.tee_type = 0));
    add("another vendor", tdx().edit(|it| it.header.qe_vendor[15] ^= 1));

    for status in [
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
        "Revoked",
        "TDRelaunchAdvised",
        "Excellent",
    ] {
        add(&format!("status {status}"), tdx().tcb(status, &["INTEL-SA-01036"]));
    }
    add("revoked PCK", tdx().revoked_pck());
    add("revoked authority", tdx().revoked(Revoked::Authority));
    add("revoked TCB signer", tdx().revoked(Revoked::TcbSigner));
    add("certificates that ended", tdx().edit(|it| it.not_after = NOW - 1));
    add(
        "certificates that begin later",
        tdx().edit(|it| it.not_before = NOW + 1),
    );
    add(
        "signer below the authority",
        tdx().edit(|it| it.is_signer_direct = false),
    );
    add(
        "lists without a next update",
        tdx().edit(|it| it.pck_crl.has_next_update = false),
    );
    add("lists without a number", tdx().edit(|it| it.pck_crl.number = None));
    for forged in [
        Forged::Body,
        Forged::AttestationKey,
        Forged::QeReport,
        Forged::PckCertificate,
        Forged::AuthorityCertificate,
        Forged::TcbSignerCertificate,
        Forged::TcbInfo,
        Forged::QeIdentity,
        Forged::PckCrl,
        Forged::RootCrl,
    ] {
        add(&format!("forged {forged:?}"), tdx().forged(forged));
    }
    for omitted in Omitted::all() {
        let name = match omitted {
            Omitted::TcbComponent(_) => "without a TcbComponent".to_owned(),
            other => format!("without {other:?}"),
        };
        add(&name, tdx().without(omitted));
    }
    matrix.check("signed");
}

/// Each of the four documents alone.
#[test]
fn a_document_that_is_out_of_time() {
    const ENDED: Window = Window {
        age: 31 * 86_400,
        life: 30 * 86_400,
    };
    const LATER: Window = Window {
        age: -60,
        life: 30 * 86_400,
    };
    let world = World::new();
    let mut matrix = Matrix::default();
    for (when, window) in [("ended", ENDED), ("later", LATER)] {
        let mut add =
            |name: &str, builder: Builder| matrix.add(format!("{name} {when}"), world.meets(&builder.build()));
        let tdx = SoftTdx::builder;
        add("tcb_info", tdx().edit(|it| it.tcb_info.window = window));
        add("qe_identity", tdx().edit(|it| it.qe_identity.window = window));
        add("pck_crl", tdx().edit(|it| it.pck_crl.window = window));
        add("root_crl", tdx().edit(|it| it.root_crl.window = window));
    }
    matrix.check("documents out of time");
}

/// Collateral that is older than what is in force, though all of it holds.
#[test]
fn collateral_that_goes_back() {
    let world = World::new();
    let newest = |edit: &dyn Fn(Builder) -> Builder| {
        let mut set = world.collateral.clone();
        let tdx = edit(SoftTdx::builder()).build();
        let collateral = attestation::Collateral::parse(tdx.collateral(NOW).into())?;
        set.insert(collateral, NOW)?;
        world.judges_by(&evidence(&world.tdx), &world.policy, &set)
    };
    const OLDER: Window = Window {
        age: 2 * 86_400,
        life: 30 * 86_400,
    };
    let mut matrix = Matrix::default();
    matrix.add("the same again", newest(&|it| it));
    matrix.add("all newer", newest(&|it| it.evaluation(19).crl_number(8)));
    matrix.add(
        "tcb_info evaluation",
        newest(&|it| it.edit(|it| it.tcb_info.evaluation = 17)),
    );
    matrix.add(
        "qe_identity evaluation",
        newest(&|it| it.edit(|it| it.qe_identity.evaluation = 17)),
    );
    matrix.add(
        "pck_crl number",
        newest(&|it| it.edit(|it| it.pck_crl.number = Some(6))),
    );
    matrix.add(
        "root_crl number",
        newest(&|it| it.edit(|it| it.root_crl.number = Some(6))),
    );
    matrix.add("tcb_info date", newest(&|it| it.edit(|it| it.tcb_info.window = OLDER)));
    matrix.add(
        "qe_identity date",
        newest(&|it| it.edit(|it| it.qe_identity.window = OLDER)),
    );
    matrix.add("pck_crl date", newest(&|it| it.edit(|it| it.pck_crl.window = OLDER)));
    matrix.add("root_crl date", newest(&|it| it.edit(|it| it.root_crl.window = OLDER)));
    matrix.check("rollback");
}

/// Every member, left out before the document is signed.
#[test]
fn a_document_without_one_member() {
    let world = World::new();
    let collateral = world.tdx.collateral(NOW);
    let mut matrix = Matrix::default();
    for (name, body) in [
        ("tcbInfo", &collateral.tcb_info),
        ("enclaveIdentity", &collateral.qe_identity),
    ] {
        let envelope: Value = serde_json::from_slice(body).expect("it is JSON");
        for pointer in members(&envelope[name], "") {
            let builder = match name {
                "tcbInfo" => SoftTdx::builder().without_tcb_info(&pointer),
                _ => SoftTdx::builder().without_qe_identity(&pointer),
            };
            matrix.add(format!("{name}{pointer}"), world.meets(&builder.build()));
        }
    }
    matrix.check("documents without");
}

/// Every value, changed before the document is signed.
#[test]
fn a_document_with_another_value() {
    let world = World::new();
    let mut matrix = Matrix::default();
    let mut tcb_info = |pointer: &str, value: Value| {
        let name = format!("tcbInfo{pointer} = {value}");
        matrix.add(name, world.meets(&SoftTdx::builder().tcb_info(pointer, value).build()));
    };
    tcb_info("/id", json!("SGX"));
    tcb_info("/version", json!(2));
    tcb_info("/version", json!(4));
    tcb_info("/issueDate", json!("yesterday"));
    tcb_info("/nextUpdate", json!("2026-11-22T08:00:01+01:00"));
    tcb_info("/fmspc", json!("soft"));
    tcb_info("/fmspc", json!("000000000000"));
    tcb_info("/pceId", json!("0001"));
    tcb_info("/tcbType", json!(1));
    tcb_info("/tcbEvaluationDataNumber", json!(-1));
    tcb_info("/tdxModule/mrsigner", json!("11".repeat(48)));
    tcb_info("/tdxModuleIdentities/0/mrsigner", json!("11".repeat(48)));
    tcb_info("/tdxModuleIdentities/0/mrsigner", json!("00"));
    tcb_info("/tdxModuleIdentities/0/id", json!("TDX_03"));
    tcb_info("/tdxModuleIdentities/0/attributes", json!("0100000000000000"));
    tcb_info("/tdxModuleIdentities/0/tcbLevels", json!([]));
    tcb_info("/tdxModuleIdentities/0/tcbLevels/0/tcbStatus", json!("Revoked"));
    tcb_info("/tdxModuleIdentities/0/tcbLevels/0/tcb/isvsvn", json!(6));
    tcb_info("/tcbLevels", json!([]));
    tcb_info("/tcbLevels/0/tcb/sgxtcbcomponents", json!([]));
    tcb_info("/tcbLevels/0/tcb/tdxtcbcomponents", json!([]));
    tcb_info("/tcbLevels/0/tcbDate", json!("once"));
    tcb_info("/unknown", json!(true));
    let mut qe_identity = |pointer: &str, value: Value| {
        let name = format!("enclaveIdentity{pointer} = {value}");
        matrix.add(
            name,
            world.meets(&SoftTdx::builder().qe_identity(pointer, value).build()),
        );
    };
    qe_identity("/id", json!("QE"));
    qe_identity("/version", json!(1));
    qe_identity("/version", json!(3));
    qe_identity("/issueDate", json!(""));
    qe_identity("/tcbEvaluationDataNumber", json!("18"));
    qe_identity("/miscselect", json!("00000001"));
    qe_identity("/miscselectMask", json!("00"));
    qe_identity("/attributes", json!("19000000000000000000000000000000"));
    qe_identity("/mrsigner", json!("11".repeat(32)));
    qe_identity("/isvprodid", json!(1));
    qe_identity("/tcbLevels", json!([]));
    qe_identity("/tcbLevels/0/tcbStatus", json!("Revoked"));
    qe_identity("/tcbLevels/0/tcb/isvsvn", json!(5));
    matrix.check("documents signed");
}

fn members(value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let path = format!("{path}/{name}");
                found.extend(members(inner, &path));
                found.push(path);
            }
        }
        // Of a list the first: the newest level, or the first of sixteen components.
        Value::Array(list) => {
            if let Some(first) = list.first() {
                found.extend(members(first, &format!("{path}/0")));
            }
        }
        _ => {}
    }
    found
}

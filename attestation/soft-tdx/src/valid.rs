//! A platform, its guest and its collateral as they should be: what everything that is broken starts from.

use crate::{
    platform::{Configuration, FMSPC, Platform, QuotingEnclave},
    recipe::{Authority, Form, Header, Level, List, ModuleLevel, QeIdentity, Recipe, Revoked, TcbInfo, Window},
    soft::identifier,
    td::Td,
};

pub(crate) const QE_SIGNER: [u8; 32] = *b"soft-tdx signer of the quoting e";
pub(crate) const QE_PRODUCT: u16 = 2;

/// Intel's, for its quoting enclaves: nothing else is a quote.
const QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// 2020-01-01 and 2049-12-31: the same in every run, so that a seed gives the same platform.
const NOT_BEFORE: u64 = 1_577_836_800;
const NOT_AFTER: u64 = 2_524_521_600;

/// 2024-03-13, and a year before.
const TCB_DATE: u64 = 1_710_288_000;
const OLD_TCB_DATE: u64 = TCB_DATE - 365 * DAY;

const DAY: u64 = 86_400;
/// As Intel's documents: a day old, valid for thirty.
const FRESH: Window = Window {
    age: DAY as i64,
    life: 30 * DAY,
};

/// A platform that is up to date, as real ones look.
pub(crate) fn valid(seed: &[u8; 32], number: u32) -> Recipe {
    let cpu_svn = [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut older = cpu_svn;
    older[0] = 1;
    let level = |sgx, date, status: &str, advisories: &[&str]| Level {
        sgx,
        pce_svn: 11,
        tdx: [4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        date,
        status: status.to_owned(),
        advisories: advisories.iter().map(|id| (*id).to_owned()).collect(),
    };
    let module = |isv_svn, date, status: &str| ModuleLevel {
        isv_svn,
        date,
        status: status.to_owned(),
        advisories: Vec::new(),
    };
    let list = List {
        window: FRESH,
        has_next_update: true,
        number: Some(7),
        revoked: vec![Revoked::Stranger],
    };
    Recipe {
        form: Form::V4,
        header: Header {
            version: None,
            key_type: 2,
            tee_type: 0x81,
            qe_svn: 0,
            pce_svn: 0,
            qe_vendor: QE_VENDOR,
            user_data: [0; 20],
        },
        td: Td::of("worker"),
        platform: Platform {
            ppid: identifier(seed, "ppid", number),
            fmspc: FMSPC,
            cpu_svn,
            pce_svn: 13,
            pce_id: [0, 0],
            sgx_type: 1,
            instance: Some(identifier(seed, "instance", number)),
            configuration: Some(Configuration {
                dynamic_platform: true,
                cached_keys: true,
                smt_enabled: true,
            }),
        },
        enclave: QuotingEnclave {
            cpu_svn,
            misc_select: 0,
            attributes: [0x11, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
            mr_enclave: *b"soft-tdx the quoting enclave    ",
            mr_signer: QE_SIGNER,
            isv_prod_id: QE_PRODUCT,
            isv_svn: 4,
        },
        auth_data: (0..32).collect(),
        authority: Authority::Platform,
        not_before: NOT_BEFORE,
        not_after: NOT_AFTER,
        is_signer_direct: true,
        tcb_info: TcbInfo {
            window: FRESH,
            evaluation: 18,
            fmspc: None,
            levels: vec![
                level(cpu_svn, TCB_DATE, "UpToDate", &[]),
                level(older, OLD_TCB_DATE, "OutOfDate", &["INTEL-SA-00000"]),
            ],
            module_levels: vec![module(4, TCB_DATE, "UpToDate"), module(2, OLD_TCB_DATE, "OutOfDate")],
            edits: Vec::new(),
        },
        qe_identity: QeIdentity {
            window: FRESH,
            evaluation: 18,
            levels: vec![module(4, TCB_DATE, "UpToDate"), module(2, OLD_TCB_DATE, "OutOfDate")],
            edits: Vec::new(),
        },
        pck_crl: list.clone(),
        root_crl: list,
        forged: Vec::new(),
        omitted: Vec::new(),
    }
}

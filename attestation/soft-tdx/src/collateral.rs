//! What Intel's service says about a platform, in the exact bytes that it would send.
//!
//! Intel SGX and TDX Provisioning Certification Service, API version 4.

use serde_json::{Value, json};

use crate::{
    calendar::rfc3339,
    key::Key,
    recipe::{Authority, Edit, ModuleLevel, QeIdentity, TcbInfo},
};

/// For platforms of one FMSPC and one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collateral {
    pub fmspc: [u8; 6],
    pub authority: Authority,
    /// `{"tcbInfo":…,"signature":"…"}`.
    pub tcb_info: Vec<u8>,
    /// PEM: the signer, the root.
    pub tcb_info_chain: String,
    /// `{"enclaveIdentity":…,"signature":"…"}`.
    pub qe_identity: Vec<u8>,
    pub qe_identity_chain: String,
    /// DER.
    pub pck_crl: Vec<u8>,
    /// PEM: the authority, the root.
    pub pck_crl_chain: String,
    /// DER.
    pub root_ca_crl: Vec<u8>,
}

/// `{"NAME":DOCUMENT,"signature":"…"}`; the signature is over the very bytes of the document (r and s, in hex).
pub(crate) fn envelope(name: &str, document: &Value, signer: &Key) -> Vec<u8> {
    let document = document.to_string();
    let signature = hex(&signer.sign(document.as_bytes()));
    format!(r#"{{"{name}":{document},"signature":"{signature}"}}"#).into_bytes()
}

impl TcbInfo {
    pub(crate) fn document(&self, fmspc: &[u8; 6], pce_id: &[u8; 2], now: u64) -> Value {
        // Intel's modules are signed with a key that has no name: zeros.
        let signer = "0".repeat(96);
        let levels: Vec<Value> = self
            .levels
            .iter()
            .map(|level| {
                let tcb = json!({
                    "sgxtcbcomponents": components(&level.sgx),
                    "pcesvn": level.pce_svn,
                    "tdxtcbcomponents": components(&level.tdx),
                });
                dated(tcb, level.date, &level.status, &level.advisories)
            })
            .collect();
        let document = json!({
            "id": "TDX",
            "version": 3,
            "issueDate": rfc3339(self.window.issued(now)),
            "nextUpdate": rfc3339(self.window.next(now)),
            "fmspc": hex(&self.fmspc.unwrap_or(*fmspc)).to_uppercase(),
            "pceId": hex(pce_id).to_uppercase(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": self.evaluation,
            "tdxModule": { "mrsigner": signer, "attributes": "0".repeat(16), "attributesMask": "F".repeat(16) },
            "tdxModuleIdentities": [{
                "id": "TDX_01",
                "mrsigner": signer,
                "attributes": "0".repeat(16),
                "attributesMask": "F".repeat(16),
                "tcbLevels": module_levels(&self.module_levels),
            }],
            "tcbLevels": levels,
        });
        edited(document, &self.edits)
    }
}

impl QeIdentity {
    pub(crate) fn document(&self, now: u64) -> Value {
        let document = json!({
            "id": "TD_QE",
            "version": 2,
            "issueDate": rfc3339(self.window.issued(now)),
            "nextUpdate": rfc3339(self.window.next(now)),
            "tcbEvaluationDataNumber": self.evaluation,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": hex(&crate::valid::QE_SIGNER).to_uppercase(),
            "isvprodid": crate::valid::QE_PRODUCT,
            "tcbLevels": module_levels(&self.levels),
        });
        edited(document, &self.edits)
    }
}

fn components(versions: &[u8; 16]) -> Value {
    versions.iter().map(|svn| json!({ "svn": svn })).collect()
}

fn module_levels(levels: &[ModuleLevel]) -> Value {
    levels
        .iter()
        .map(|level| {
            dated(
                json!({ "isvsvn": level.isv_svn }),
                level.date,
                &level.status,
                &level.advisories,
            )
        })
        .collect()
}

/// Without advisories the list is left out, as Intel does.
fn dated(tcb: Value, date: u64, status: &str, advisories: &[String]) -> Value {
    let mut level = json!({ "tcb": tcb, "tcbDate": rfc3339(date), "tcbStatus": status });
    if !advisories.is_empty() {
        level["advisoryIDs"] = json!(advisories);
    }
    level
}

fn edited(mut document: Value, edits: &[Edit]) -> Value {
    for edit in edits {
        let (parent, last) = edit.pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = document
            .pointer_mut(parent)
            .expect("an edit names a place in the document");
        match (parent, &edit.value) {
            (Value::Object(map), Some(value)) => _ = map.insert(last.to_owned(), value.clone()),
            (Value::Object(map), None) => {
                map.shift_remove(last).expect("an edit removes what is there");
            }
            (Value::Array(list), value) => {
                let position: usize = last.parse().expect("a list has numbered places");
                match value {
                    Some(value) => list[position] = value.clone(),
                    None => _ = list.remove(position),
                }
            }
            _ => panic!("{} is in nothing that holds others", edit.pointer),
        }
    }
    document
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

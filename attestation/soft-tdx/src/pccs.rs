//! Collateral as a caching service (PCCS) or Intel's own answers with it: paths, headers and bodies. The sockets are
//! the caller's.
//!
//! Intel SGX and TDX Provisioning Certification Service, API version 4; that the root's list is hex is PCCS's own.

use crate::collateral::{Collateral, hex};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// With its query.
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Collateral {
    /// All that the service knows. Anything else is a 404.
    pub fn answers(&self) -> Vec<Answer> {
        let fmspc = hex(&self.fmspc).to_uppercase();
        let authority = self.authority.name();
        let json = ("Content-Type", "application/json".to_owned());
        vec![
            Answer {
                target: format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update=standard"),
                headers: vec![json.clone(), ("TCB-Info-Issuer-Chain", escaped(&self.tcb_info_chain))],
                body: self.tcb_info.clone(),
            },
            Answer {
                target: "/tdx/certification/v4/qe/identity?update=standard".to_owned(),
                headers: vec![
                    json,
                    ("SGX-Enclave-Identity-Issuer-Chain", escaped(&self.qe_identity_chain)),
                ],
                body: self.qe_identity.clone(),
            },
            Answer {
                target: format!("/sgx/certification/v4/pckcrl?ca={authority}&encoding=der"),
                headers: vec![
                    ("Content-Type", "application/pkix-crl".to_owned()),
                    ("SGX-PCK-CRL-Issuer-Chain", escaped(&self.pck_crl_chain)),
                ],
                body: self.pck_crl.clone(),
            },
            Answer {
                target: "/sgx/certification/v4/rootcacrl".to_owned(),
                headers: vec![("Content-Type", "application/pkix-crl".to_owned())],
                body: hex(&self.root_ca_crl).into_bytes(),
            },
        ]
    }

    /// What is answered to this request target; `update=standard`, the default, may be left out.
    pub fn answer(&self, target: &str) -> Option<Answer> {
        self.answers()
            .into_iter()
            .find(|answer| parts(&answer.target) == parts(target))
    }
}

/// The path, and the parameters in order.
fn parts(target: &str) -> (&str, Vec<String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parameters: Vec<_> = query
        .split('&')
        .map(str::to_ascii_lowercase)
        .filter(|parameter| !parameter.is_empty() && parameter != "update=standard")
        .collect();
    parameters.sort_unstable();
    (path, parameters)
}

/// Percent-encoded, as header values must be that hold line ends.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::SoftTdx;

    #[test]
    fn only_what_is_asked_for_is_answered() {
        let collateral = SoftTdx::builder().build().collateral(1_795_334_400);
        let body = |target: &str| collateral.answer(target).map(|answer| answer.body);
        let tcb_info = Some(collateral.tcb_info.clone());
        assert_eq!(
            body("/tdx/certification/v4/tcb?fmspc=736F66740000&update=standard"),
            tcb_info
        );
        assert_eq!(body("/tdx/certification/v4/tcb?fmspc=736f66740000"), tcb_info);
        assert_eq!(body("/tdx/certification/v4/tcb?fmspc=736f66740001"), None);
        assert_eq!(body("/tdx/certification/v4/tcb?fmspc=736f66740000&update=early"), None);
        assert_eq!(body("/sgx/certification/v4/tcb?fmspc=736f66740000"), None);
        let list = Some(collateral.pck_crl.clone());
        assert_eq!(body("/sgx/certification/v4/pckcrl?encoding=der&ca=platform"), list);
        assert_eq!(body("/sgx/certification/v4/pckcrl?encoding=der&ca=processor"), None);
        assert_eq!(
            body("/tdx/certification/v4/qe/identity"),
            Some(collateral.qe_identity.clone())
        );
    }

    #[test]
    fn a_chain_fits_into_a_header() {
        let collateral = SoftTdx::builder().build().collateral(1_795_334_400);
        let chains = collateral.answers().into_iter().flat_map(|answer| answer.headers);
        let chains: Vec<_> = chains.filter(|(name, _)| name.ends_with("Issuer-Chain")).collect();
        assert_eq!(chains.len(), 3);
        for (_, value) in chains {
            assert!(value.starts_with("-----BEGIN%20CERTIFICATE-----%0A"), "{value}");
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

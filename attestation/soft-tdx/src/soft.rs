//! One platform under its own root: quotes, and the collateral that verifies them.

use std::sync::Arc;

use attestation::{Attester, NoQuote};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

use crate::{
    builder::Builder,
    collateral::{Collateral, envelope},
    key::Key,
    layout::Sheet,
    recipe::{Forged, Form, List, Omitted, Recipe, Revoked},
    td::Td,
    valid::valid,
    x509::{self, Certificate, RevocationList},
};

const ROOT: &str = "Software SGX Root CA";
const TCB_SIGNER: &str = "Software SGX TCB Signing";
const PCK: &str = "Software SGX PCK Certificate";

/// A platform that is software from its root on.
///
/// Its quotes prove nothing about any machine: whoever has the seed can make them. A verifier accepts them only under
/// a development trust anchor, which is its [root](Self::root_der).
#[derive(Clone)]
pub struct SoftTdx {
    keys: Arc<Keys>,
    /// The root's certificate. Kept, because signing it again would make other bytes.
    root: Arc<[u8]>,
    recipe: Recipe,
}

struct Keys {
    seed: [u8; 32],
    root: Key,
    authority: Key,
    tcb_signer: Key,
    pck: Key,
    attestation: Key,
    stranger: Key,
    pck_serial: Vec<u8>,
}

impl SoftTdx {
    /// The same seed is the same root and the same platform. The seed is the secret of all keys: keep it as one, or
    /// know that anybody may sign.
    ///
    /// Signatures differ in each run, therefore also the bytes of certificates; names, keys and what is certified do not.
    pub fn danger_from_seed(seed: [u8; 32]) -> Self {
        Self::made(seed, 0, valid(&seed, 0))
    }

    /// A root that was never before.
    pub fn danger_random() -> Self {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .expect("the system has randomness, without which no TLS works either");
        Self::danger_from_seed(seed)
    }

    /// The same platform with the guest of another image.
    #[must_use]
    pub fn with_image(mut self, name: &str) -> Self {
        self.recipe.td = Td::of(name);
        self
    }

    /// For tests: a valid platform, of which one thing is to be broken. Its seed is public.
    pub fn builder() -> Builder {
        let seed = *b"a test's seed, known to everybody";
        let mut short = [0; 32];
        short.copy_from_slice(&seed[..32]);
        Builder::new(short)
    }

    /// A platform of this root, numbered from 0, which [`danger_from_seed`](Self::danger_from_seed) gives: other PPID,
    /// instance and keys, the same collateral.
    pub fn platform(&self, number: u32) -> Self {
        Self {
            root: Arc::clone(&self.root),
            ..Self::made(self.keys.seed, number, valid(&self.keys.seed, number))
        }
    }

    pub(crate) fn made(seed: [u8; 32], number: u32, recipe: Recipe) -> Self {
        let mine = |name: &str| Key::derive(&seed, &format!("{name} {number}"));
        let keys = Keys {
            seed,
            root: Key::derive(&seed, "root"),
            authority: Key::derive(&seed, recipe.authority.name()),
            tcb_signer: Key::derive(&seed, "tcb signer"),
            pck: mine("pck"),
            attestation: mine("attestation"),
            stranger: Key::derive(&seed, "stranger"),
            pck_serial: identifier(&seed, "serial", number).to_vec(),
        };
        let root = certificate(&recipe, ROOT, ROOT, &[1], &keys.root, true).sign(&keys.root);
        Self {
            keys: Arc::new(keys),
            root: root.into(),
            recipe,
        }
    }

    /// Another guest on this platform.
    pub fn with_td(mut self, td: Td) -> Self {
        self.recipe.td = td;
        self
    }

    pub fn td(&self) -> &Td {
        &self.recipe.td
    }

    pub fn td_mut(&mut self) -> &mut Td {
        &mut self.recipe.td
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What a development trust anchor is.
    pub fn root_der(&self) -> Vec<u8> {
        certificate(&self.recipe, ROOT, ROOT, &[1], &self.keys.root, true).sign(&self.keys.root)
    }

    pub fn quote(&self, report_data: &[u8; 64]) -> Vec<u8> {
        self.quote_sheet(report_data).into_bytes()
    }

    /// With the name of each field.
    pub fn quote_sheet(&self, report_data: &[u8; 64]) -> Sheet {
        let mut sheet = Sheet::default();
        self.put_header(&mut sheet);
        self.put_body(report_data, &mut sheet);
        let signature = self.signer(Forged::Body, &self.keys.attestation).sign(sheet.bytes());
        let vouched = self.vouched();
        let mut auth = Sheet::default();
        auth.put("auth.signature", &signature);
        auth.put("auth.attestation_key", &self.keys.attestation.point());
        // 6: what follows is the enclave's report, with its own certification.
        auth.put("auth.certification_type", &6_u16.to_le_bytes());
        auth.put("auth.certification_len", &len(vouched.bytes()));
        auth.append(vouched);
        sheet.put("auth.len", &len(auth.bytes()));
        sheet.append(auth);
        sheet
    }

    /// As Intel's service would have sent it just now.
    pub fn collateral(&self, now: u64) -> Collateral {
        let recipe = &self.recipe;
        let platform = &recipe.platform;
        let root = self.root_der();
        let signer = self.tcb_signer();
        let signer_chain = if recipe.is_signer_direct {
            x509::chain(&[&signer, &root])
        } else {
            x509::chain(&[&signer, &self.authority(), &root])
        };
        let tcb_info = recipe.tcb_info.document(&platform.fmspc, &platform.pce_id, now);
        let qe_identity = recipe.qe_identity.document(now);
        Collateral {
            fmspc: platform.fmspc,
            authority: recipe.authority,
            tcb_info: envelope(
                "tcbInfo",
                &tcb_info,
                self.signer(Forged::TcbInfo, &self.keys.tcb_signer),
            ),
            tcb_info_chain: signer_chain.clone(),
            qe_identity: envelope(
                "enclaveIdentity",
                &qe_identity,
                self.signer(Forged::QeIdentity, &self.keys.tcb_signer),
            ),
            qe_identity_chain: signer_chain,
            pck_crl: self
                .list(&recipe.pck_crl, recipe.authority.common_name(), now)
                .sign(self.signer(Forged::PckCrl, &self.keys.authority)),
            pck_crl_chain: x509::chain(&[&self.authority(), &root]),
            root_ca_crl: self
                .list(&recipe.root_crl, ROOT, now)
                .sign(self.signer(Forged::RootCrl, &self.keys.root)),
        }
    }

    fn put_header(&self, sheet: &mut Sheet) {
        let header = &self.recipe.header;
        let version = header
            .version
            .unwrap_or(if self.recipe.form == Form::V4 { 4 } else { 5 });
        sheet.put("header.version", &version.to_le_bytes());
        sheet.put("header.key_type", &header.key_type.to_le_bytes());
        sheet.put("header.tee_type", &header.tee_type.to_le_bytes());
        sheet.put("header.qe_svn", &header.qe_svn.to_le_bytes());
        sheet.put("header.pce_svn", &header.pce_svn.to_le_bytes());
        sheet.put("header.qe_vendor", &header.qe_vendor);
        sheet.put("header.user_data", &header.user_data);
    }

    fn put_body(&self, report_data: &[u8; 64], sheet: &mut Sheet) {
        let td = &self.recipe.td;
        let mut body = Sheet::default();
        td.put_1_0(report_data, &mut body);
        let kind = match self.recipe.form {
            Form::V4 => return sheet.append(body),
            Form::V5Td10 => 2_u16,
            Form::V5Td15 => 3,
            Form::V5Td15Ex => 4,
        };
        if kind >= 3 {
            td.put_1_5(&mut body);
        }
        if kind == 4 {
            td.extended.put(&mut body);
        }
        sheet.put("body.type", &kind.to_le_bytes());
        sheet.put("body.len", &len(body.bytes()));
        sheet.append(body);
    }

    /// The enclave's report, signed by the platform, and the platform's certificates.
    fn vouched(&self) -> Sheet {
        let recipe = &self.recipe;
        let key = self.signer(Forged::AttestationKey, &self.keys.attestation);
        let binding = digest(&SHA256, &[&key.point()[..], &recipe.auth_data].concat());
        let mut sheet = Sheet::default();
        recipe.enclave.put(binding.as_ref(), &mut sheet);
        let signature = self.signer(Forged::QeReport, &self.keys.pck).sign(sheet.bytes());
        sheet.put("qe.signature", &signature);
        sheet.put("qe.auth_data_len", &(recipe.auth_data.len() as u16).to_le_bytes());
        sheet.put("qe.auth_data", &recipe.auth_data);
        // 5: a chain of certificates in PEM.
        let chain = x509::chain(&[&self.pck(), &self.authority(), &self.root_der()]);
        sheet.put("pck.certification_type", &5_u16.to_le_bytes());
        sheet.put("pck.chain_len", &len(chain.as_bytes()));
        sheet.put("pck.chain", chain.as_bytes());
        sheet
    }

    fn pck(&self) -> Vec<u8> {
        let issuer = self.recipe.authority.common_name();
        let mut certificate = certificate(&self.recipe, PCK, issuer, &self.keys.pck_serial, &self.keys.pck, false);
        let omitted = &self.recipe.omitted;
        if !omitted.contains(&Omitted::SgxExtension) {
            certificate.extensions.push(self.recipe.platform.extension(omitted));
        }
        certificate.sign(self.signer(Forged::PckCertificate, &self.keys.authority))
    }

    fn authority(&self) -> Vec<u8> {
        let name = self.recipe.authority.common_name();
        let mut certificate = certificate(
            &self.recipe,
            name,
            ROOT,
            &authority_serial(),
            &self.keys.authority,
            true,
        );
        for omitted in &self.recipe.omitted {
            match omitted {
                Omitted::AuthorityConstraints => certificate.is_authority = false,
                Omitted::AuthoritySigns => certificate.usage &= !x509::SIGN_CERTIFICATES,
                Omitted::AuthorityRevokes => certificate.usage &= !x509::SIGN_LISTS,
                _ => {}
            }
        }
        certificate.sign(self.signer(Forged::AuthorityCertificate, &self.keys.root))
    }

    fn tcb_signer(&self) -> Vec<u8> {
        let (issuer, key) = if self.recipe.is_signer_direct {
            (ROOT, &self.keys.root)
        } else {
            (self.recipe.authority.common_name(), &self.keys.authority)
        };
        certificate(
            &self.recipe,
            TCB_SIGNER,
            issuer,
            &signer_serial(),
            &self.keys.tcb_signer,
            false,
        )
        .sign(self.signer(Forged::TcbSignerCertificate, key))
    }

    fn list(&self, list: &List, issuer: &str, now: u64) -> RevocationList {
        let serial = |revoked: &Revoked| match revoked {
            Revoked::Pck => self.keys.pck_serial.clone(),
            Revoked::Authority => authority_serial(),
            Revoked::TcbSigner => signer_serial(),
            Revoked::Stranger => vec![0x7f; 8],
        };
        RevocationList {
            issuer: issuer.to_owned(),
            this_update: list.window.issued(now),
            next_update: list.has_next_update.then(|| list.window.next(now)),
            number: list.number,
            revoked: list.revoked.iter().map(serial).collect(),
        }
    }

    fn signer<'a>(&'a self, what: Forged, honest: &'a Key) -> &'a Key {
        if self.recipe.forged.contains(&what) {
            &self.keys.stranger
        } else {
            honest
        }
    }
}

fn certificate(
    recipe: &Recipe,
    subject: &str,
    issuer: &str,
    serial: &[u8],
    key: &Key,
    is_authority: bool,
) -> Certificate {
    Certificate {
        serial: serial.to_vec(),
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        not_before: recipe.not_before,
        not_after: recipe.not_after,
        spki: key.spki(),
        is_authority,
        usage: if is_authority {
            x509::SIGN_CERTIFICATES | x509::SIGN_LISTS
        } else {
            x509::DIGITAL_SIGNATURE
        },
        extensions: Vec::new(),
    }
}

/// Never busy and never slow.
impl Attester for SoftTdx {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        Ok(Self::quote(self, report_data))
    }
}

/// Sixteen bytes that no other seed, name or number gives; as a serial number it is positive and not zero.
pub(crate) fn identifier(seed: &[u8; 32], name: &str, number: u32) -> [u8; 16] {
    let text = format!("{name} {number}");
    let digest = digest(&SHA256, &[b"soft-tdx id\0", &seed[..], text.as_bytes()].concat());
    let mut out = [0; 16];
    out.copy_from_slice(&digest.as_ref()[..16]);
    out[0] = out[0] & 0x7f | 1;
    out
}

fn authority_serial() -> Vec<u8> {
    vec![2]
}

fn signer_serial() -> Vec<u8> {
    vec![3]
}

fn len(bytes: &[u8]) -> [u8; 4] {
    (bytes.len() as u32).to_le_bytes()
}

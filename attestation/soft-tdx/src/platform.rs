//! A machine: what Intel's certificate says about it, and its quoting enclave.
//!
//! The extension: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, §1.3.5.

use crate::{der, layout::Sheet, recipe::Omitted};

const SGX: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// Not any machine's: it spells "soft".
pub const FMSPC: [u8; 6] = *b"soft\0\0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub ppid: [u8; 16],
    pub fmspc: [u8; 6],
    pub cpu_svn: [u8; 16],
    pub pce_svn: u16,
    pub pce_id: [u8; 2],
    /// 1: scalable.
    pub sgx_type: u8,
    /// Only with certificates of the Platform CA, as the next.
    pub instance: Option<[u8; 16]>,
    pub configuration: Option<Configuration>,
}

/// As every server seen has them: all true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    pub dynamic_platform: bool,
    pub cached_keys: bool,
    pub smt_enabled: bool,
}

impl Platform {
    /// The identifier, and the content of the extension.
    pub(crate) fn extension(&self, omitted: &[Omitted]) -> (Vec<u64>, Vec<u8>) {
        let mut tcb = Vec::new();
        for (arc, svn) in (1..).zip(self.cpu_svn) {
            tcb.push((
                Omitted::TcbComponent(arc),
                entry(&[2, u64::from(arc)], &der::number(u64::from(svn))),
            ));
        }
        tcb.push((Omitted::PceSvn, entry(&[2, 17], &der::number(u64::from(self.pce_svn)))));
        tcb.push((Omitted::CpuSvn, entry(&[2, 18], &der::octets(&self.cpu_svn))));
        let mut entries = vec![
            (Omitted::Ppid, entry(&[1], &der::octets(&self.ppid))),
            (Omitted::Tcb, entry(&[2], &sequence_without(omitted, tcb))),
            (Omitted::PceId, entry(&[3], &der::octets(&self.pce_id))),
            (Omitted::Fmspc, entry(&[4], &der::octets(&self.fmspc))),
            (Omitted::SgxType, entry(&[5], &der::enumerated(self.sgx_type))),
        ];
        if let Some(instance) = &self.instance {
            entries.push((Omitted::Instance, entry(&[6], &der::octets(instance))));
        }
        if let Some(configuration) = self.configuration {
            let flags = [
                entry(&[7, 1], &der::boolean(configuration.dynamic_platform)),
                entry(&[7, 2], &der::boolean(configuration.cached_keys)),
                entry(&[7, 3], &der::boolean(configuration.smt_enabled)),
            ];
            entries.push((Omitted::Configuration, entry(&[7], &der::sequence(&[&flags.concat()]))));
        }
        (SGX.to_vec(), sequence_without(omitted, entries))
    }
}

fn sequence_without(omitted: &[Omitted], entries: Vec<(Omitted, Vec<u8>)>) -> Vec<u8> {
    let kept: Vec<_> = entries
        .into_iter()
        .filter(|(what, _)| !omitted.contains(what))
        .map(|(_, entry)| entry)
        .collect();
    der::sequence(&[&kept.concat()])
}

fn entry(arcs: &[u64], value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(&[&SGX[..], arcs].concat()), value])
}

/// The enclave that signs quotes, as its own report has it (`sgx_report_body_t`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotingEnclave {
    pub cpu_svn: [u8; 16],
    pub misc_select: u32,
    pub attributes: [u8; 16],
    pub mr_enclave: [u8; 32],
    pub mr_signer: [u8; 32],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
}

impl QuotingEnclave {
    /// 384 bytes. `binding` says which attestation key is this enclave's.
    pub(crate) fn put(&self, binding: &[u8], sheet: &mut Sheet) {
        sheet.put("qe.cpu_svn", &self.cpu_svn);
        sheet.put("qe.misc_select", &self.misc_select.to_le_bytes());
        sheet.put("qe.reserved1", &[0; 28]);
        sheet.put("qe.attributes", &self.attributes);
        sheet.put("qe.mr_enclave", &self.mr_enclave);
        sheet.put("qe.reserved2", &[0; 32]);
        sheet.put("qe.mr_signer", &self.mr_signer);
        sheet.put("qe.reserved3", &[0; 96]);
        sheet.put("qe.isv_prod_id", &self.isv_prod_id.to_le_bytes());
        sheet.put("qe.isv_svn", &self.isv_svn.to_le_bytes());
        sheet.put("qe.reserved4", &[0; 60]);
        sheet.put("qe.report_data.binding", binding);
        sheet.put("qe.report_data.zeros", &[0; 32]);
    }
}

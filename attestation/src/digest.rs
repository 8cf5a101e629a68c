//! SHA-2 as arrays.

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA384, SHA512};

use crate::Hex;

pub(crate) fn sha256(parts: &[&[u8]]) -> Hex<32> {
    of(&SHA256, parts)
}

pub(crate) fn sha384(parts: &[&[u8]]) -> Hex<48> {
    of(&SHA384, parts)
}

pub(crate) fn sha512(parts: &[&[u8]]) -> Hex<64> {
    of(&SHA512, parts)
}

fn of<const N: usize>(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Hex<N> {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; N];
    out.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    Hex(out)
}

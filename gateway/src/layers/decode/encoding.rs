//! Compressed request bodies, decompressed within a cap, so that a small bomb stays small.

use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::DecodeError;

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
    Zstd,
    Brotli,
}

/// The body as it was before the client compressed it.
pub(super) async fn decompress(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    let Some(encoding) = encoding(headers)? else {
        return Ok(body);
    };
    // Megabytes take long enough to delay other requests of this thread.
    let work = tokio::task::spawn_blocking(move || inflate(encoding, &body, limit));
    work.await.map_err(|_| DecodeError::BadEncoding)?
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, DecodeError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::CONTENT_ENCODING) {
            Err(DecodeError::UnknownEncoding)
        } else {
            Ok(None)
        };
    };
    let name = HeaderValue::to_str(value)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match name.as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Encoding::Gzip)),
        "deflate" => Ok(Some(Encoding::Deflate)),
        "zstd" => Ok(Some(Encoding::Zstd)),
        "br" => Ok(Some(Encoding::Brotli)),
        _ => Err(DecodeError::UnknownEncoding),
    }
}

fn inflate(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    match encoding {
        Encoding::Gzip => read(flate2::read::MultiGzDecoder::new(body), limit),
        // RFC 9110 means the zlib format; some clients send the bare stream.
        Encoding::Deflate => match read(flate2::read::ZlibDecoder::new(body), limit) {
            Err(DecodeError::BadEncoding) => read(flate2::read::DeflateDecoder::new(body), limit),
            other => other,
        },
        Encoding::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body).map_err(|_| DecodeError::BadEncoding)?;
            read(decoder, limit)
        }
        Encoding::Brotli => read(brotli_decompressor::Decompressor::new(body, 4096), limit),
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Bytes, DecodeError> {
    let mut out = Vec::new();
    let read: io::Result<usize> = decoder.take(limit as u64 + 1).read_to_end(&mut out);
    read.map_err(|_| DecodeError::BadEncoding)?;
    if out.len() > limit {
        return Err(DecodeError::TooLarge { limit });
    }
    Ok(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(
            inflate(Encoding::Gzip, &bomb, 1_000_000),
            Err(DecodeError::TooLarge { limit: 1_000_000 })
        ));
        assert_eq!(inflate(Encoding::Gzip, &gzip(b"{}"), 2).expect("two bytes"), "{}");
    }

    #[test]
    fn garbage_is_refused_in_every_encoding() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Brotli] {
            let refused = inflate(encoding, b"certainly not compressed", 1000);
            assert!(matches!(refused, Err(DecodeError::BadEncoding)), "{encoding:?}");
        }
    }

    #[test]
    fn brotli_and_zstd_by_known_bytes() {
        // From Node's zlib and the reference zstd, as `printf '{}' | brotli -c` and `printf '{}' | zstd -c --no-check`.
        assert_eq!(
            inflate(Encoding::Brotli, b"\x8b\x00\x80\x7b\x7d\x03", 10).expect("brotli"),
            "{}"
        );
        assert_eq!(
            inflate(Encoding::Zstd, b"\x28\xb5\x2f\xfd\x00\x58\x11\x00\x00\x7b\x7d", 10).expect("zstd"),
            "{}"
        );
    }
}

//! Frames on the wire (SPDY draft 3.1, section 2.2).
//!
//! Owns encoding and decoding, within the limits. Never knows which streams exist.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::error::FrameError;
use super::headers::{Deflater, Headers, Inflater};

const VERSION: u16 = 3;
const PREFIX_BYTES: usize = 8;
const FLAG_FIN: u8 = 1;
/// The largest data frame; clients send the result of one read, 32 KiB.
pub const DATA_LIMIT_BYTES: usize = 1 << 20;
/// The largest control frame, compressed.
pub const CONTROL_LIMIT_BYTES: usize = 64 << 10;

/// Why a stream ended early (section 2.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ResetReason {
    ProtocolError = 1,
    InvalidStream = 2,
    RefusedStream = 3,
    Cancel = 5,
}

/// One frame. Those that need no answer and change nothing are [`Frame::Ignored`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    SynStream { id: u32, fin: bool, headers: Headers },
    SynReply { id: u32, headers: Headers },
    Reset { id: u32, reason: u32 },
    Ping(u32),
    GoAway { last_id: u32, reason: u32 },
    Data { id: u32, fin: bool, bytes: Bytes },
    Ignored,
}

/// Reads frames; keeps the state of header decompression.
#[derive(Default)]
pub struct FrameDecoder {
    inflater: Inflater,
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(prefix) = src.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let is_control = prefix[0] & 0x80 != 0;
        let length = u32::from_be_bytes([0, prefix[5], prefix[6], prefix[7]]) as usize;
        if length > if is_control { CONTROL_LIMIT_BYTES } else { DATA_LIMIT_BYTES } {
            return Err(FrameError::TooLarge);
        }
        let word = u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        let fin = prefix[4] & FLAG_FIN != 0;
        if src.len() < PREFIX_BYTES + length {
            src.reserve(PREFIX_BYTES + length - src.len());
            return Ok(None);
        }
        src.advance(PREFIX_BYTES);
        let payload = src.split_to(length).freeze();
        if !is_control {
            return Ok(Some(Frame::Data { id: word, fin, bytes: payload }));
        }
        let version = (word >> 16) as u16 & 0x7fff;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.control(word as u16, fin, payload).map(Some)
    }
}

impl FrameDecoder {
    fn control(&mut self, kind: u16, fin: bool, mut payload: Bytes) -> Result<Frame, FrameError> {
        let number = |payload: &mut Bytes| payload.try_get_u32().map_err(|_| FrameError::Malformed("frame"));
        let stream_id = |payload: &mut Bytes| Ok::<_, FrameError>(number(payload)? & 0x7fff_ffff);
        Ok(match kind {
            1 => {
                let id = stream_id(&mut payload)?;
                // The associated stream, priority and slot are ignored.
                if payload.len() < 6 {
                    return Err(FrameError::Malformed("SYN_STREAM"));
                }
                Frame::SynStream { id, fin, headers: self.inflater.headers(&payload[6..])? }
            }
            2 => Frame::SynReply { id: stream_id(&mut payload)?, headers: self.inflater.headers(&payload)? },
            3 => Frame::Reset { id: stream_id(&mut payload)?, reason: number(&mut payload)? },
            6 => Frame::Ping(number(&mut payload)?),
            7 => Frame::GoAway { last_id: stream_id(&mut payload)?, reason: number(&mut payload)? },
            8 => {
                stream_id(&mut payload)?;
                // Only to keep the decompression in step.
                self.inflater.headers(&payload)?;
                Frame::Ignored
            }
            // SETTINGS, WINDOW_UPDATE, CREDENTIAL and what later drafts may add (section 2.2.1).
            _ => Frame::Ignored,
        })
    }
}

/// Writes frames; keeps the state of header compression.
#[derive(Default)]
pub struct FrameEncoder {
    deflater: Deflater,
}

impl Encoder<Frame> for FrameEncoder {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), FrameError> {
        match frame {
            Frame::SynStream { id, fin, headers } => {
                let block = self.deflater.block(&headers)?;
                put_control(dst, 1, u8::from(fin), 10 + block.len())?;
                dst.put_u32(id);
                dst.put_slice(&[0; 6]);
                dst.put_slice(&block);
            }
            Frame::SynReply { id, headers } => {
                let block = self.deflater.block(&headers)?;
                put_control(dst, 2, 0, 4 + block.len())?;
                dst.put_u32(id);
                dst.put_slice(&block);
            }
            Frame::Reset { id, reason } => {
                put_control(dst, 3, 0, 8)?;
                dst.put_u32(id);
                dst.put_u32(reason);
            }
            Frame::Ping(id) => {
                put_control(dst, 6, 0, 4)?;
                dst.put_u32(id);
            }
            Frame::GoAway { last_id, reason } => {
                put_control(dst, 7, 0, 8)?;
                dst.put_u32(last_id);
                dst.put_u32(reason);
            }
            Frame::Data { id, fin, bytes } => {
                if bytes.len() > DATA_LIMIT_BYTES {
                    return Err(FrameError::TooLarge);
                }
                dst.put_u32(id);
                put_flags(dst, u8::from(fin), bytes.len());
                dst.put_slice(&bytes);
            }
            Frame::Ignored => {}
        }
        Ok(())
    }
}

fn put_control(dst: &mut BytesMut, kind: u16, flags: u8, length: usize) -> Result<(), FrameError> {
    if length > CONTROL_LIMIT_BYTES {
        return Err(FrameError::TooLarge);
    }
    dst.put_u16(0x8000 | VERSION);
    dst.put_u16(kind);
    put_flags(dst, flags, length);
    Ok(())
}

/// Flags and a length, which the callers have checked to fit 24 bits.
fn put_flags(dst: &mut BytesMut, flags: u8, length: usize) {
    dst.put_u32(u32::from(flags) << 24 | length as u32);
}

#[cfg(test)]
mod tests;

use proptest::prelude::*;

use super::*;

fn frames() -> impl Strategy<Value = Frame> {
    let id = 1u32..0x7fff_ffff;
    let headers = prop::collection::vec(("[a-z-]{1,20}", ".{0,40}"), 0..8).prop_map(Headers);
    prop_oneof![
        (id.clone(), any::<bool>(), headers.clone()).prop_map(|(id, fin, headers)| Frame::SynStream {
            id,
            fin,
            headers
        }),
        (id.clone(), headers).prop_map(|(id, headers)| Frame::SynReply { id, headers }),
        (id.clone(), any::<u32>()).prop_map(|(id, reason)| Frame::Reset { id, reason }),
        any::<u32>().prop_map(Frame::Ping),
        (id.clone(), any::<u32>()).prop_map(|(last_id, reason)| Frame::GoAway { last_id, reason }),
        (id, any::<bool>(), prop::collection::vec(any::<u8>(), 0..2000))
            .prop_map(|(id, fin, bytes)| Frame::Data { id, fin, bytes: bytes.into() }),
    ]
}

fn decode_in_pieces(wire: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = FrameDecoder::default();
    let mut buffer = BytesMut::new();
    let mut decoded = Vec::new();
    for chunk in wire.chunks(piece) {
        buffer.extend_from_slice(chunk);
        while let Some(frame) = decoder.decode(&mut buffer)? {
            decoded.push(frame);
        }
    }
    Ok(decoded)
}

proptest! {
    #[test]
    fn frames_survive_the_wire(sent in prop::collection::vec(frames(), 0..12), piece in 1usize..300) {
        let mut encoder = FrameEncoder::default();
        let mut wire = BytesMut::new();
        for frame in &sent {
            encoder.encode(frame.clone(), &mut wire)?;
        }
        prop_assert_eq!(decode_in_pieces(&wire, piece)?, sent);
    }

    #[test]
    fn hostile_bytes_never_panic(
        sent in prop::collection::vec(frames(), 1..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut encoder = FrameEncoder::default();
        let mut wire = BytesMut::new();
        for frame in sent {
            encoder.encode(frame, &mut wire)?;
        }
        for (at, value) in flips {
            let at = at.index(wire.len());
            wire[at] = value;
        }
        drop(decode_in_pieces(&wire, 100));
        drop(decode_in_pieces(&noise, 7));
    }
}

#[test]
fn what_a_go_client_sends_is_read() -> Result<(), FrameError> {
    // Compressed by zlib with the dictionary, as any peer's first SYN_STREAM.
    let mut zlib = flate2::Compress::new(flate2::Compression::best(), true);
    zlib.set_dictionary(&super::super::dictionary::DICTIONARY).map_err(|_| FrameError::Compression)?;
    let mut plain = 1u32.to_be_bytes().to_vec();
    for text in ["streamtype", "stdin"] {
        plain.extend((text.len() as u32).to_be_bytes());
        plain.extend(text.as_bytes());
    }
    let mut block = Vec::with_capacity(200);
    zlib.compress_vec(&plain, &mut block, flate2::FlushCompress::Sync)
        .map_err(|_| FrameError::Compression)?;
    let mut wire = vec![0x80, 3, 0, 1, 0, 0, 0, 10 + block.len() as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    wire.extend(block);
    let headers = Headers(vec![("streamtype".to_owned(), "stdin".to_owned())]);
    assert_eq!(decode_in_pieces(&wire, 5)?, [Frame::SynStream { id: 1, fin: false, headers }]);
    Ok(())
}

#[test]
fn excess_is_refused_before_it_is_buffered() -> Result<(), FrameError> {
    let refuse = |wire: &[u8]| decode_in_pieces(wire, wire.len());
    assert!(matches!(refuse(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), Err(FrameError::TooLarge)));
    assert!(matches!(refuse(&[0x80, 3, 0, 1, 0, 2, 0, 0]), Err(FrameError::TooLarge)));
    assert!(matches!(refuse(&[0x80, 2, 0, 1, 0, 0, 0, 0]), Err(FrameError::Version(2))));
    // A block that blows up a thousandfold.
    let mut deflater = Deflater::default();
    let bomb = deflater.block(&Headers(vec![("a".to_owned(), "b".repeat(4 << 20))]))?;
    let mut wire = vec![0x80, 3, 0, 2, 0];
    wire.extend(&(4 + bomb.len() as u32).to_be_bytes()[1..]);
    wire.extend(1u32.to_be_bytes());
    wire.extend(bomb);
    assert!(wire.len() < CONTROL_LIMIT_BYTES);
    assert!(matches!(refuse(&wire), Err(FrameError::TooLarge)));
    Ok(())
}

//! The protobuf wire format: numbered values, nothing about what they mean.

/// Reads the fields of one message.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

/// A value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

const SHORT: &str = "it ends in the middle of a value";

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Wire<'b>)>, String> {
        let Some(key) = self.varint_or_end()? else { return Ok(None) };
        let number =
            u32::try_from(key >> 3).ok().filter(|n| *n > 0).ok_or("it has an impossible field number")?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint_or_end()?.ok_or(SHORT)?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint_or_end()?.ok_or(SHORT)?;
                Wire::Bytes(self.take(usize::try_from(length).map_err(|_| SHORT)?)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("it has a value of the unknown wire type {other}")),
        };
        Ok(Some((number, value)))
    }

    /// The next bare number; `None` at the end.
    pub(super) fn varint_or_end(&mut self) -> Result<Option<u64>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(SHORT)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Err("it has a number of more than 64 bits".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| SHORT.to_owned())
    }
}

impl<'b> Wire<'b> {
    pub(super) fn bytes(self) -> Result<&'b [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("it has {other:?} where bytes belong")),
        }
    }

    pub(super) fn text(self) -> Result<&'b str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "it has text that is not UTF-8".to_owned())
    }

    pub(super) fn number(self) -> Result<u64, String> {
        match self {
            Self::Varint(number) => Ok(number),
            other => Err(format!("it has {other:?} where a number belongs")),
        }
    }

    /// `None` for what is no finite number.
    pub(super) fn float(self) -> Result<Option<f64>, String> {
        match self {
            Self::Fixed64(bits) => Ok(Some(f64::from_bits(bits)).filter(|f| f.is_finite())),
            Self::Fixed32(bits) => Ok(Some(f64::from(f32::from_bits(bits))).filter(|f| f.is_finite())),
            other => Err(format!("it has {other:?} where a fraction belongs")),
        }
    }
}

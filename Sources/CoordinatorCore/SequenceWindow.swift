/// Which sequence numbers of one sender were applied, so that each is applied at most once in whatever order they come: the
/// highest, and which of the 64 up to it. The method of IPsec's anti-replay window (RFC 4303, section 3.4.3).
public struct SequenceWindow: Hashable, Sendable {
    public static let size = 64

    public enum Verdict: Hashable, Sendable {
        case new
        /// Applied before.
        case repeated
        /// Below the window: not known.
        case tooOld
    }

    /// 0: none yet.
    public private(set) var highest: Int
    /// Bit k: `highest - k` was applied.
    public private(set) var applied: UInt64

    public init(highest: Int = 0, applied: UInt64 = 0) {
        self.highest = highest
        self.applied = applied
    }

    public func verdict(on sequence: Int) -> Verdict {
        if sequence > highest { return .new }
        let age = highest - sequence
        if age >= Self.size { return .tooOld }
        return applied & (1 << UInt64(age)) == 0 ? .new : .repeated
    }

    /// Notes that `sequence`, on which the verdict was `new`, is applied.
    public mutating func apply(_ sequence: Int) {
        if sequence > highest {
            let shift = sequence - highest
            applied = shift >= Self.size ? 0 : applied << UInt64(shift)
            applied |= 1
            highest = sequence
        } else {
            applied |= 1 << UInt64(highest - sequence)
        }
    }
}

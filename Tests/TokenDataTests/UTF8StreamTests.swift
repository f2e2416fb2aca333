import TestSupport
import Testing
import TokenData

@Suite struct UTF8StreamTests {
    /// Wherever bytes are cut, what comes out is what they decode to as a whole, and each piece of it is valid.
    @Test func piecesAreWholeCharacters() {
        var generator = SplitMix64(state: TestRuns.seed())
        let units: [[UInt8]] = [
            Array("aé€🧠".utf8), Array("🧠".utf8), [0xF0, 0x9F], [0xE2, 0x82], [0xC3], [0xFF], [0x80],
            [0xED, 0xA0, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xE0, 0x80], [0xF0, 0x80, 0x80], [0xC0, 0xAF], Array("\u{301}".utf8),
        ]
        for _ in 0..<500 {
            let bytes = (0..<8).flatMap { _ in units.randomElement(using: &generator)! }
            var stream = UTF8Stream()
            var pieces = [[UInt8]]()
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + Int.random(in: 1...4, using: &generator))
                pieces.append(stream.append(bytes[start..<end]))
                start = end
            }
            pieces.append(stream.finish())
            for piece in pieces { #expect(String(validating: piece, as: UTF8.self) != nil, "\(bytes)") }
            #expect(pieces.flatMap(\.self) == Array(String(decoding: bytes, as: UTF8.self).utf8), "\(bytes)")
        }
    }

    /// Nothing is held back that cannot become another character.
    @Test func onlyBeginningsAreHeldBack() {
        var stream = UTF8Stream()
        #expect(stream.append([0x61]) == [0x61])
        #expect(stream.append([0xE2]) == [])
        #expect(stream.append([0x82]) == [])
        #expect(stream.append([0xAC, 0xC3]) == Array("€".utf8))
        #expect(stream.append([0x28]) == Array("\u{FFFD}(".utf8))
        #expect(stream.append([0xED, 0xA0]) == Array("\u{FFFD}\u{FFFD}".utf8))
        #expect(stream.append([0xF0]) == [])
        #expect(stream.finish() == Array("\u{FFFD}".utf8))
        #expect(stream.finish() == [])
    }
}

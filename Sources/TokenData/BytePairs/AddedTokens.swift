/// Tokens that are found in the text as they are, before it is split into words: special ones and those that were added later.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: Int32
        /// UTF-8.
        let content: [UInt8]
        /// Only where no word goes on.
        let isSingleWord: Bool
        /// Takes the spaces before it.
        let stripsLeft: Bool
        /// Takes the spaces after it.
        let stripsRight: Bool
        /// Is looked for in the normalised text, not in the given one.
        let isNormalized: Bool
    }

    let tokens: [Token]
    /// Next place in the trie by place and byte; the root is 0.
    private var children: [UInt64: Int32] = [:]
    /// Whether a token begins with this byte.
    private var begins = [Bool](repeating: false, count: 256)
    /// The token that ends at a place of the trie, -1 for none.
    private var ends: [Int32] = [-1]

    /// - Parameter tokens: of different contents, none empty.
    init(_ tokens: [Token]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() {
            var place: Int32 = 0
            begins[Int(token.content[0])] = true
            for byte in token.content {
                let key = Self.key(place, byte)
                if let child = children[key] {
                    place = child
                } else {
                    place = Int32(ends.count)
                    ends.append(-1)
                    children[key] = place
                }
            }
            ends[Int(place)] = Int32(index)
        }
    }

    private static func key(_ place: Int32, _ byte: UInt8) -> UInt64 { UInt64(place) << 8 | UInt64(byte) }

    /// The longest token that begins at `start`.
    private func longest(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (token: Token, end: Int)? {
        var (place, position): (Int32, Int) = (0, start)
        var found: (Token, Int)?
        while position < text.count, let child = children[Self.key(place, text[position])] {
            place = child
            position += 1
            if ends[Int(place)] >= 0 { found = (tokens[Int(ends[Int(place)])], position) }
        }
        return found
    }

    /// Calls `body` with all of `text`, piece by piece: added tokens with their ids, and what is between them with nil.
    func forEachPiece<Failure>(
        in text: UnsafeBufferPointer<UInt8>, _ body: (_ piece: Range<Int>, _ token: Int32?) throws(Failure) -> Void
    ) throws(Failure) {
        guard !tokens.isEmpty else { return try body(0..<text.count, nil) }
        var (pieceStart, position) = (0, 0)
        while position < text.count {
            guard begins[Int(text[position])], let (token, end) = longest(in: text, at: position) else {
                position += 1
                continue
            }
            var (start, stop) = (position, end)
            // As the package does it: a match that is refused is not looked into again, and neither are stripped spaces skipped.
            position = end
            if token.isSingleWord, Self.endsWithWord(text[..<start]) || Self.beginsWithWord(text[end...]) { continue }
            if token.stripsLeft { start = max(pieceStart, Self.startOfSpaces(before: start, in: text)) }
            if token.stripsRight { stop = Self.endOfSpaces(after: end, in: text) }
            // Nothing of it is left but spaces that the token before took. The package leaves it out, too, or panics.
            guard start < stop else { continue }
            if pieceStart < start { try body(pieceStart..<start, nil) }
            try body(start..<stop, token.id)
            pieceStart = stop
        }
        if pieceStart < text.count { try body(pieceStart..<text.count, nil) }
    }

    private static func startOfSpaces(before end: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
        var start = end
        while start > 0, let previous = text[..<start].lastIndex(where: { $0 & 0xC0 != 0x80 }),
            let scalar = first(of: text[previous..<start]), scalar.properties.isWhitespace
        {
            start = previous
        }
        return start
    }

    private static func endOfSpaces(after start: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
        var end = start
        while end < text.count, let scalar = first(of: text[end...]), scalar.properties.isWhitespace {
            end += UTF8.width(scalar)
        }
        return end
    }

    private static func first(of text: Slice<UnsafeBufferPointer<UInt8>>) -> Unicode.Scalar? {
        String(decoding: text.prefix(4), as: UTF8.self).unicodeScalars.first
    }

    private static func beginsWithWord(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        first(of: text).map(isWordCharacter) ?? false
    }

    private static func endsWithWord(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard let start = text.lastIndex(where: { $0 & 0xC0 != 0x80 }) else { return false }
        return beginsWithWord(text[start...])
    }

    /// `\w` of Unicode Technical Standard 18.
    private static func isWordCharacter(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: true
        default: scalar.properties.isAlphabetic || scalar.properties.isJoinControl
        }
    }
}

/// Splits text into the words within which tokens are merged: what the package calls a pre-tokenizer.
struct WordSplitter: Sendable {
    /// What becomes of a text, or of each piece that the stage before made.
    struct Stage: Sendable {
        /// Which pieces are left out.
        enum Removal: Sendable {
            case nothing, matches, rest
        }

        /// A piece gets a space in front when it has none.
        var addsPrefixSpace = false
        /// Matches and what is between them become pieces; nil: the piece stays whole.
        var pattern: SplitPattern?
        var removal = Removal.nothing
    }

    let stages: [Stage]

    /// Of GPT-2.
    static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// What Digits takes for one: `\p{N}`, and what is younger in the package's Digits than in its expressions.
    static let digit: String = {
        var set = "[\\p{N}"
        for range in UnicodeTables.digitsBesidesNumbers() {
            set += "\(Unicode.Scalar(range.lowerBound)!)-\(Unicode.Scalar(range.upperBound)!)"
        }
        return set + "]"
    }()

    /// As GPT-2 splits.
    static let gpt2 = WordSplitter(stages: [Stage(pattern: try? SplitPattern(gpt2Pattern))])

    /// Calls `body` with the words of `text` from left to right; none is empty.
    /// - Parameter text: valid UTF-8.
    /// - Throws: `TokenDataError.tooManySteps`.
    func forEachWord(
        in text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws(TokenDataError) {
        try split(text, from: 0, body)
    }

    private func split(
        _ text: UnsafeBufferPointer<UInt8>, from stage: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws(TokenDataError) {
        guard !text.isEmpty else { return }
        guard stage < stages.count else { return body(text) }
        let current = stages[stage]
        if current.addsPrefixSpace, text[0] != UInt8(ascii: " ") {
            try ([UInt8(ascii: " ")] + text).withUnsafeBufferPointer { (text) throws(TokenDataError) in
                try split(text, by: current, next: stage + 1, body)
            }
        } else {
            try split(text, by: current, next: stage + 1, body)
        }
    }

    private func split(
        _ text: UnsafeBufferPointer<UInt8>, by stage: Stage, next: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws(TokenDataError) {
        guard let pattern = stage.pattern else { return try split(text, from: next, body) }
        try pattern.forEachPiece(in: text) { (piece, isMatch) throws(TokenDataError) in
            switch (stage.removal, isMatch) {
            case (.matches, true), (.rest, false): break
            default: try split(UnsafeBufferPointer(rebasing: text[piece]), from: next, body)
            }
        }
    }
}

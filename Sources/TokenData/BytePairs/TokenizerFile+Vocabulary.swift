extension TokenizerFile {
    /// The model's tokens.
    struct Vocabulary {
        private var table = ByteStringTable()
        /// By the number in `table`.
        private var ids = [Int32]()
        /// What token i stands for.
        private(set) var texts: [[UInt8]] = []
        /// Whether all of the token's characters stand for bytes.
        private var isOfBytes: [Bool] = []

        init(_ value: JSON?) throws(Unusable) {
            guard case .object(let members) = value, !members.isEmpty else {
                throw .damaged("\"vocab\" is no object with tokens")
            }
            guard members.count <= BytePairTokenizer.maximumTokens else {
                throw Unusable(reason: "it has more than \(BytePairTokenizer.maximumTokens) tokens")
            }
            table = ByteStringTable(capacity: members.count)
            texts = [[UInt8]](repeating: [], count: members.count)
            isOfBytes = [Bool](repeating: false, count: members.count)
            var isTaken = [Bool](repeating: false, count: members.count)
            for member in members {
                let name = TokenizerFile.show(member.name)
                guard case .integer(let id) = member.value, id >= 0 else {
                    throw .damaged("the token \"\(name)\" has no id that is a number from 0")
                }
                guard id < members.count else {
                    throw .damaged(
                        "the token \"\(name)\" has the id \(id), but \(members.count) tokens have the ids 0 to \(members.count - 1)"
                    )
                }
                guard !isTaken[id] else {
                    throw .damaged("the id \(id) is that of two tokens, one of them \"\(name)\"")
                }
                guard table.insert(member.name).isNew else { throw .damaged("the token \"\(name)\" is there twice") }
                isTaken[id] = true
                ids.append(Int32(id))
                let bytes = ByteAlphabet.bytes(of: member.name)
                texts[id] = bytes ?? member.name
                isOfBytes[id] = bytes != nil
            }
        }

        /// - Parameter text: as the file writes it.
        func token(_ text: [UInt8]) -> Int32? { table.index(of: text).map { ids[$0] } }

        /// The token of each byte.
        func byteTokens() throws(Unusable) -> [Int32] {
            var tokens = [Int32]()
            for byte in UInt8.min...UInt8.max {
                let character = String(ByteAlphabet.scalars[Int(byte)])
                let token = token(Array(character.utf8))
                // 0xC0, 0xC1 and 0xF5 on are in no UTF-8.
                guard token != nil || byte == 0xC0 || byte == 0xC1 || byte >= 0xF5 else {
                    throw .unsupported("a vocabulary without \"\(character)\", the token of the byte \(byte),")
                }
                tokens.append(token ?? -1)
            }
            return tokens
        }

        func wholeWords() -> (table: ByteStringTable, tokens: [Int32]) {
            var (words, tokens) = (ByteStringTable(capacity: texts.count), [Int32]())
            for (id, text) in texts.enumerated() where isOfBytes[id] {
                if words.insert(text).isNew { tokens.append(Int32(id)) }
            }
            return (words, tokens)
        }
    }
}

extension TokenizerFile {
    /// What the post-processor puts around a text; nil for those that are not known.
    func frame(_ value: JSON?, tokens: Int) -> BytePairTokenizer.Frame? {
        guard let value else { return BytePairTokenizer.Frame() }
        func id(_ value: JSON?) -> Int32? {
            if case .integer(let id) = value, id >= 0, id < tokens { Int32(id) } else { nil }
        }
        switch value["type"]?.string {
        case "ByteLevel": return BytePairTokenizer.Frame()
        case "RobertaProcessing", "BertProcessing":
            guard case .array(let start) = value["cls"], case .array(let end) = value["sep"],
                let first = id(start.last), let last = id(end.last)
            else { return nil }
            return BytePairTokenizer.Frame(before: [first], after: [last])
        case "TemplateProcessing":
            guard case .array(let pieces) = value["single"] else { return nil }
            var frame = BytePairTokenizer.Frame()
            var hasText = false
            for piece in pieces {
                if piece["Sequence"] != nil {
                    guard !hasText else { return nil }
                    hasText = true
                } else {
                    guard let name = piece["SpecialToken"]?["id"]?.string,
                        case .array(let ids) = value["special_tokens"]?[name]?["ids"]
                    else { return nil }
                    let known = ids.compactMap(id)
                    guard known.count == ids.count else { return nil }
                    if hasText { frame.after += known } else { frame.before += known }
                }
            }
            return hasText ? frame : nil
        case "Sequence":
            guard case .array(let processors) = value["processors"] else { return nil }
            var frame = BytePairTokenizer.Frame()
            for processor in processors {
                guard let outer = self.frame(processor, tokens: tokens) else { return nil }
                frame = BytePairTokenizer.Frame(before: outer.before + frame.before, after: frame.after + outer.after)
            }
            return frame
        default: return nil
        }
    }
}

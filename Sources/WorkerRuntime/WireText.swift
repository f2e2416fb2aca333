extension String {
    /// This text as the control protocol takes it: of limited length, the end of it when it is too long, and without
    /// control characters.
    func fitting(bytes limit: Int) -> String {
        var text = ""
        text.unicodeScalars.append(
            contentsOf: unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 })
        // Scalars, not characters: one of those may be as long as the text.
        var excess = text.utf8.count - limit
        let end = text.unicodeScalars.drop { scalar in
            defer { excess -= UTF8.width(scalar) }
            return excess > 0
        }
        return String(end)
    }
}

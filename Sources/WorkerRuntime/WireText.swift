extension String {
    /// This text as the control protocol takes it: of limited length, the end of it when it is too long, and without
    /// control characters.
    func fitting(bytes limit: Int) -> String {
        var text = ""
        text.unicodeScalars.append(
            contentsOf: unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 })
        while text.utf8.count > limit { text.removeFirst(max(1, (text.utf8.count - limit) / 4)) }
        return text
    }
}

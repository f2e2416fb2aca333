/// The name among `names` that needs the fewest edits to become `name`; nil when all need more than a third of its length
/// (and more than two).
func nearest(to name: String, among names: [String]) -> String? {
    let limit = max(2, name.count / 3)
    return names.map { ($0, editDistance(Array($0), Array(name.lowercased()))) }
        .filter { $0.1 <= limit }
        .min { $0.1 < $1.1 }?.0
}

/// Insertions, deletions and replacements that lead from `a` to `b` (Wagner and Fischer 1974, doi:10.1145/321796.321811).
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var distances = Array(0...b.count)
    for (row, character) in a.enumerated() {
        var diagonal = distances[0]
        distances[0] = row + 1
        for column in b.indices {
            let replaced = diagonal + (character == b[column] ? 0 : 1)
            diagonal = distances[column + 1]
            distances[column + 1] = min(replaced, diagonal + 1, distances[column] + 1)
        }
    }
    return distances[b.count]
}

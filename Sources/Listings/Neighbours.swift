extension Collection where Index == Int {
    /// Cuts the indices where neighbours are not alike.
    package func runs(where alike: (Element, Element) -> Bool) -> [Range<Int>] {
        var runs = [Range<Int>]()
        for index in indices {
            if let last = runs.last, alike(self[index - 1], self[index]) {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        return runs
    }
}

/// The least few of many, in ascending order.
struct LeastFew<Element: Comparable> {
    let count: Int
    private(set) var entries = [Element]()

    /// - Parameter count: of those that are kept, 1 at least.
    init(count: Int) {
        self.count = count
        entries.reserveCapacity(count)
    }

    /// The greatest of those kept, once there are enough.
    var last: Element? { entries.count == count ? entries[count - 1] : nil }

    /// - Returns: whether it is among the least so far.
    @discardableResult
    mutating func offer(_ element: Element) -> Bool {
        if let last, element >= last { return false }
        if entries.count < count { entries.append(element) }
        var index = entries.count - 1
        while index > 0, element < entries[index - 1] {
            entries[index] = entries[index - 1]
            index -= 1
        }
        entries[index] = element
        return true
    }
}

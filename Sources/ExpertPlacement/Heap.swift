/// The least of many elements at hand, by a binary heap.
struct Heap<Element: Comparable> {
    private var elements: [Element]

    init(_ elements: [Element]) {
        self.elements = elements
        for index in stride(from: elements.count / 2 - 1, through: 0, by: -1) { sink(index) }
    }

    /// The least element.
    var first: Element? { elements.first }

    /// Puts `element` in the place of the least one.
    mutating func replaceFirst(by element: Element) {
        elements[0] = element
        sink(0)
    }

    mutating func removeFirst() {
        let last = elements.removeLast()
        if !elements.isEmpty { replaceFirst(by: last) }
    }

    private mutating func sink(_ start: Int) {
        var index = start
        let element = elements[index]
        while true {
            var child = 2 * index + 1
            if child >= elements.count { break }
            if child + 1 < elements.count, elements[child + 1] < elements[child] { child += 1 }
            if !(elements[child] < element) { break }
            elements[index] = elements[child]
            index = child
        }
        elements[index] = element
    }
}

/// A thing by its number, and what it weighs: the heavier comes first, of equals the one with the lower number.
struct Heaviest<Weight: Comparable>: Comparable {
    var weight: Weight
    let index: Int

    static func < (a: Heaviest, b: Heaviest) -> Bool {
        a.weight == b.weight ? a.index < b.index : a.weight > b.weight
    }
}

/// The same, the lighter first.
struct Lightest<Weight: Comparable>: Comparable {
    var weight: Weight
    let index: Int

    static func < (a: Lightest, b: Lightest) -> Bool {
        a.weight == b.weight ? a.index < b.index : a.weight < b.weight
    }
}

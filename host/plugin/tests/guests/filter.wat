;; A label filter that does what the first letter of its expression says; the letter is also its matcher's representation.
;; compile: `R` refuses, `L` never ends, `T` crashes; anything else is understood.
;; matches: `f` selects the first record of each batch, `a` all, `l` never ends, `t` says why and crashes, `m` takes memory
;; until there is none, `o` recurses, `r` refuses, `s` answers too short, `b` sets bits that belong to no record, `p` points
;; outside its memory.
(module
  (import "transom:common/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "[export]transom:filter/matching@0.1.0" "[resource-new]matcher" (func $new (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 65536))
  (data (i32.const 1024) "NAME0.1.0f")
  (data (i32.const 1100) "the sky fell")
  (data (i32.const 2048) "\00\04\00\00\04\00\00\00\04\04\00\00\05\00\00\00\09\04\00\00\01\00\00\00")

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 64)))))
    (local.get $at))

  (func (export "transom:filter/matching@0.1.0#describe") (result i32) (i32.const 2048))

  ;; At 512: an error of the case `other`, with the text `the sky fell`.
  (func $refuse (result i32)
    (i32.store8 (i32.const 512) (i32.const 1))
    (i32.store8 (i32.const 520) (i32.const 6))
    (i32.store (i32.const 528) (i32.const 1100))
    (i32.store (i32.const 532) (i32.const 12))
    (i32.const 512))

  (func $forever (loop $again (br $again)))

  (func $deeper (param $depth i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))

  (func $fall (call $log (i32.const 4) (i32.const 1100) (i32.const 12)) (unreachable))

  (func $is (param $letter i32) (param $wanted i32) (result i32)
    (i32.eq (local.get $letter) (local.get $wanted)))

  (func (export "transom:filter/matching@0.1.0#compile") (param $text i32) (param $length i32) (result i32)
    (local $letter i32)
    (if (local.get $length) (then (local.set $letter (i32.load8_u (local.get $text)))))
    (global.set $next (i32.const 65536))
    (if (call $is (local.get $letter) (i32.const 82)) (then (return (call $refuse))))
    (if (call $is (local.get $letter) (i32.const 76)) (then (call $forever)))
    (if (call $is (local.get $letter) (i32.const 84)) (then (call $fall)))
    (i32.store8 (i32.const 512) (i32.const 0))
    (i32.store (i32.const 520) (call $new (local.get $letter)))
    (i32.const 512))

  ;; At 512: bits at 4096.
  (func $answer (param $bytes i32) (result i32)
    (i32.store8 (i32.const 512) (i32.const 0))
    (i32.store (i32.const 520) (i32.const 4096))
    (i32.store (i32.const 524) (local.get $bytes))
    (i32.const 512))

  (func (export "transom:filter/matching@0.1.0#[method]matcher.matches")
    (param $letter i32) (param i32 i32 i32 i32 i32) (param $count i32) (result i32)
    (local $bytes i32)
    (global.set $next (i32.const 65536))
    (local.set $bytes (i32.shr_u (i32.add (local.get $count) (i32.const 7)) (i32.const 3)))
    (memory.fill (i32.const 4096) (i32.const 0) (i32.const 256))
    (i32.store8 (i32.const 4096) (i32.const 1))
    (if (call $is (local.get $letter) (i32.const 108)) (then (call $forever)))
    (if (call $is (local.get $letter) (i32.const 116)) (then (call $fall)))
    (if (call $is (local.get $letter) (i32.const 111)) (then (drop (call $deeper (i32.const 0)))))
    (if (call $is (local.get $letter) (i32.const 114)) (then (return (call $refuse))))
    (if (call $is (local.get $letter) (i32.const 115)) (then (return (call $answer (i32.const 0)))))
    (if (call $is (local.get $letter) (i32.const 98)) (then (i32.store8 (i32.const 4096) (i32.const 255))))
    (if (call $is (local.get $letter) (i32.const 109)) (then
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (unreachable)))
    (if (call $is (local.get $letter) (i32.const 112)) (then
      (drop (call $answer (local.get $bytes)))
      (i32.store (i32.const 520) (i32.const -8))
      (return (i32.const 512))))
    (if (call $is (local.get $letter) (i32.const 97)) (then
      (memory.fill (i32.const 4096) (i32.const 255) (local.get $bytes))
      (if (i32.and (local.get $count) (i32.const 7)) (then
        (i32.store8 offset=4095 (local.get $bytes)
          (i32.sub (i32.shl (i32.const 1) (i32.and (local.get $count) (i32.const 7))) (i32.const 1)))))))
    (call $answer (local.get $bytes)))
)
